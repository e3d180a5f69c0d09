"""What is decided once for all images of a study: which values become black and white, and what stands behind
transparent pixels. Decided from a sample of the images, or given, where a study has decided before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from selfsup.data.brightness import EIGHT_BITS, Extent, Range, choose_range, extent_of
from selfsup.data.depth import Kind, deep_pixels, kind_of
from selfsup.data.sources.base import Source
from selfsup.data.transparency import choose_ground, contrasts_of

Seen = TypeVar("Seen")
#: Images of each kind that are measured.
SAMPLE = 64


@dataclass(frozen=True)
class Rendering:
    """What was decided; None where no image needs it.

    Attributes
    ----------
    integer, floating : (float, float) or None
        The values that become 0 and 255 in images of more than 8 bits, by their kind.
    ground : int or None
        Grey level behind transparent pixels.
    """

    integer: Range | None = None
    floating: Range | None = None
    ground: int | None = None

    @classmethod
    def with_full_scale(cls, full_scale: float | None) -> Rendering:
        """The one in which 0 to `full_scale` becomes 0 to 255 in images of every kind, if it is given."""
        scale = None if full_scale is None else (0.0, full_scale)
        return cls(scale, scale)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Rendering:
        """As JSON gives its fields back."""
        integer, floating = (
            None if scale is None else (scale[0], scale[1]) for scale in (values["integer"], values["floating"])
        )
        return cls(integer, floating, values["ground"])


class _Header(NamedTuple):
    kind: Kind
    transparent: bool


def _header(image: Image.Image) -> _Header:
    return _Header(kind_of(image), image.has_transparency_data)


class Renderer:
    """The rendering of a source's images, decided when it is first asked for.

    Deciding takes a look at the header of every image, and most data sets have no image that needs it.
    Any thread may ask.

    Parameters
    ----------
    source : Source
    given : Rendering
        What is known beforehand.
    """

    def __init__(self, source: Source, given: Rendering | None = None) -> None:
        self.given = given or Rendering()
        self._source = source
        self._lock = threading.Lock()
        self._headers: list[_Header | None] = []
        self._decided: dict[str, Any] = {
            field.name: value for field in fields(Rendering) if (value := getattr(self.given, field.name)) is not None
        }

    def scale(self, kind: Kind) -> Range:
        """The values that become 0 and 255 in images of a kind."""

        def extent(image: Image.Image) -> Extent:
            return extent_of(deep_pixels(image).values, kind)

        if kind == "8-bit":
            return EIGHT_BITS
        return self._once(kind, lambda: choose_range(self._sample(lambda header: header.kind == kind, extent), kind))

    def ground(self) -> int:
        """Grey level behind transparent pixels."""
        sample = partial(self._sample, lambda header: header.transparent, contrasts_of)
        return self._once("ground", lambda: choose_ground(sample()))

    def rendering(self) -> Rendering:
        """What was given or decided so far."""
        return Rendering(**self._decided)

    def _once(self, name: str, decide: Callable[[], Any]) -> Any:
        with self._lock:
            if name not in self._decided:
                self._decided[name] = decide()
            return self._decided[name]

    def _sample(self, concerns: Callable[[_Header], bool], seen: Callable[[Image.Image], Seen | None]) -> list[Seen]:
        """What is `seen` of at most ``SAMPLE`` readable images that it concerns, evenly spaced."""
        if not self._headers:
            self._headers = [self._look(index, _header) for index in range(len(self._source.items))]
        found = [index for index, header in enumerate(self._headers) if header is not None and concerns(header)]
        chosen = np.unique(np.linspace(0, len(found) - 1, min(SAMPLE, len(found))).round().astype(int))
        looks = (self._look(found[place], seen) for place in chosen)
        return [look for look in looks if look is not None]

    def _look(self, index: int, seen: Callable[[Image.Image], Seen]) -> Seen | None:
        """What is `seen` of an image; None where it cannot be read."""
        try:
            with self._source.open(index) as image:
                return seen(image)
        except Exception:  # will be set aside, with the reason, when its turn comes
            return None
