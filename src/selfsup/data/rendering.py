"""What is decided once for all images of a study: how many channels they have, which values become black and white,
and what stands behind transparent pixels. Decided from a sample of the images, or given, where a study has before."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from selfsup.data.audit import AuditEntry
from selfsup.data.brightness import EIGHT_BITS, Extent, Scale, choose_range, extent_of
from selfsup.data.formats.array_image import COLOURS
from selfsup.data.formats.depth import Kind, channels_of, deep_pixels, kind_of
from selfsup.data.formats.transparency import choose_ground, contrasts_of
from selfsup.data.sources.base import Source, require_reached
from selfsup.errors import UserError

Seen = TypeVar("Seen")
#: Images of each kind that are measured.
SAMPLE = 64


@dataclass(frozen=True)
class Rendering:
    """What was decided; None where no image needs it.

    Attributes
    ----------
    integer, floating : Scale or None
        The values that become 0 and 255 in images of more than 8 bits, by their kind.
    ground : int or None
        Grey level behind transparent pixels.
    channels : tuple of int or None
        Numbers of the files' channels, from 1, in the order in which they are taken; None for all.
    file_channels : int or None
        How many channels the files have; None where it is to be decided.
    """

    integer: Scale | None = None
    floating: Scale | None = None
    ground: int | None = None
    channels: tuple[int, ...] | None = None
    file_channels: int | None = COLOURS

    @classmethod
    def asked(cls, *, full_scale: float | None = None, channels: Sequence[int] | None = None) -> Rendering:
        """What a user says of it: 0 to `full_scale` becomes 0 to 255 in images of every kind, and `channels`."""
        scale = None if full_scale is None else (0.0, full_scale)
        return cls(scale, scale, channels=None if channels is None else tuple(channels), file_channels=None)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Rendering:
        """As JSON gives its fields back."""
        return cls(**{name: _tuples(value) for name, value in values.items()})

    @property
    def taken(self) -> tuple[int, ...]:
        """Numbers of the channels that a decoded image has, from 1, once it is known how many the files have."""
        return self.channels or tuple(range(1, (self.file_channels or COLOURS) + 1))


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


class OtherChannelsError(ValueError):
    """What decoding an image raises that has not as many channels as the others."""


class _Header(NamedTuple):
    kind: Kind
    transparent: bool
    channels: int


def _header(image: Image.Image) -> _Header:
    return _Header(kind_of(image), image.has_transparency_data, channels_of(image))


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
        self.given = given or Rendering.asked()
        self._source = source
        self._lock = threading.RLock()  # what is decided may depend on what was not decided yet
        self._headers: list[_Header | None] = []
        self._decided: dict[str, Any] = {
            field.name: value for field in fields(Rendering) if (value := getattr(self.given, field.name)) is not None
        }

    def file_channels(self) -> int:
        """How many channels most images have.

        Raises
        ------
        UserError
            If they are fewer than were asked for.
        """
        count: int = self._once("file_channels", self._choose_channels)
        if max(self.given.channels or (1,)) > count:
            asked = ",".join(map(str, self.given.channels or ()))
            raise UserError(
                f"--channels {asked} asks for more than the images of '{self._source.name}' have ({_channels(count)}); "
                f"give numbers from 1 to {count}."
            )
        return count

    def channels(self, found: int) -> tuple[int, ...]:
        """Numbers, from 1, of the channels to take of an image that has `found`.

        Raises
        ------
        OtherChannelsError
            If that is not what the study's images have, or most where that is not known beforehand.
        """
        expected = self.file_channels()
        if found != expected:
            others = "most images" if self.given.file_channels is None else "the study's images"
            raise OtherChannelsError(f"has {_channels(found)} where {others} have {_channels(expected)}")
        return Rendering(channels=self.given.channels, file_channels=expected).taken

    def _choose_channels(self) -> int:
        places = _evenly(range(len(self._source.items)))
        found = Counter(look for place in places if (look := self._look(place, channels_of)) is not None)
        return found.most_common(1)[0][0] if found else COLOURS

    def scale(self, kind: Kind) -> Scale:
        """The values that become 0 and 255 in images of a kind."""
        if kind == "8-bit":
            return EIGHT_BITS
        return self._once(kind, lambda: self._choose_scale(kind))

    def _choose_scale(self, kind: Kind) -> Scale:
        def extents(image: Image.Image) -> list[Extent]:
            return extents_of(deep_pixels(image).values, kind, self.channels(channels_of(image)))

        sample = self._sample(lambda header: header.kind == kind, extents)
        ranges = tuple(choose_range(channel, kind) for channel in zip(*sample, strict=True))
        return ranges if len(ranges) > 1 else ranges[0] if ranges else choose_range([], kind)

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
        looks = (self._look(index, seen) for index in _evenly(found))
        return [look for look in looks if look is not None]

    def _look(self, index: int, seen: Callable[[Image.Image], Seen]) -> Seen | None:
        """What is `seen` of an image; None where it cannot be read."""
        try:
            with self._source.open(index) as image:
                return seen(image)
        except Exception as error:  # will be set aside, with the reason, when its turn comes
            require_reached(self._source.items[index].name, error)
            return None


def describe_channels(rendering: Rendering) -> list[AuditEntry]:
    """What a user should know of the channels: nothing, where all of grey or colours are taken."""
    of = f"of {rendering.file_channels} channels" if rendering.file_channels != COLOURS else "grey or in colours"
    if rendering.channels:
        used = f"{', '.join(map(str, rendering.channels))} are taken, in this order"
    elif rendering.file_channels != COLOURS:
        used = "all are taken"
    else:
        return []
    return [AuditEntry("*", "channels", f"images {of}: {used}")]


def extents_of(values: np.ndarray, kind: Kind, taken: Sequence[int]) -> list[Extent]:
    """Of colours one extent of all; of other channels one of each that is `taken`, by its number from 1."""
    if values.ndim < 3 or values.shape[2] == COLOURS:
        return [extent_of(values, kind)]
    return [extent_of(values[..., number - 1], kind) for number in taken]


def _evenly(places: Sequence[int]) -> list[int]:
    """At most ``SAMPLE`` of the places, evenly spaced."""
    chosen = np.unique(np.linspace(0, len(places) - 1, min(SAMPLE, len(places))).round().astype(int))
    return [places[place] for place in chosen]


def _channels(count: int) -> str:
    return "three, grey or colours" if count == COLOURS else f"{count} channels"
