"""How images of more than 8 bits become 8-bit ones: one full scale for the whole data set.

A scale per image would stretch a dark image as bright as a bright one and lose what tells them
apart. So a sample of the data set decides: the largest values are rounded up to the largest value
of a usual number of bits (12-bit cameras write 16-bit files), and that becomes 255.
"""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image

from selfsup.data.sources.base import Source

Seen = TypeVar("Seen")
SAMPLE = 64
LEVELS = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16, 24, 32))
#: One measured image in this many may be a stray; and one of any sample of at least `FEW`.
STRAY, FEW = 20, 5


@dataclass(frozen=True)
class Extent:
    """Smallest and largest value of an image of more than 8 bits, and whether they are floating-point."""

    lowest: float
    highest: float
    floating: bool


@dataclass(frozen=True)
class Depth:
    """What became of a data set's images of more than 8 bits.

    Attributes
    ----------
    full_scale : float or None
        The value that became 255; None where there is no such image and nobody gave a scale.
    images : int
        How many there are.
    clipped : int
        How many of them have values above `full_scale`, which became 255 too.
    detail : str
        All that in words, for people.
    """

    full_scale: float | None
    images: int = 0
    clipped: int = 0
    detail: str = ""


def is_deep(image: Image.Image) -> bool:
    """Whether the image holds integers of more than 8 bits, or floating-point numbers."""
    return image.mode in ("I", "F") or image.mode.startswith("I;")


def deep_values(image: Image.Image) -> np.ndarray:
    """Values of such an image, float32 of shape (H, W); what is no number, or infinite, is 0."""
    return np.nan_to_num(np.asarray(image, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def extent_of(image: Image.Image, values: np.ndarray) -> Extent:
    """Extent of the `values` of a deep `image`."""
    return Extent(float(values.min()), float(values.max()), image.mode == "F")


def level_above(largest: float, *, floating: bool) -> float:
    """The smallest usual full scale that is at least `largest`."""
    if floating and largest <= 1:
        return 1.0
    return float(next((level for level in LEVELS if level >= largest), largest))


def choose_full_scale(extents: Sequence[Extent]) -> float:
    """The full scale that suits all the images, but for a few strays.

    One stray 16-bit image would make all 12-bit ones nearly black. So a few images (see ``STRAY``)
    do not count, if they need over two bits more than all others: below that, darkening the others
    costs less than cutting off the few.

    Parameters
    ----------
    extents : sequence of Extent
        Of the images measured; at least one.
    """
    floating = all(extent.floating for extent in extents)
    levels = sorted(level_above(extent.highest, floating=floating) for extent in extents)
    strays = max(len(levels) // STRAY, int(len(levels) >= FEW))
    common = levels[-1 - strays]
    return max(level for level in levels if level < 4 * (common + 1))


class DeepScale:
    """The full scale of a source's deep images, and a tally of what it does to them.

    Found when it is first asked for, because finding it takes a look at the header of every
    image, and most data sets have no deep image. Any thread may ask; one alone may count.

    Parameters
    ----------
    source : Source
    given : float, optional
        The full scale, above 0, where it is known beforehand.
    """

    def __init__(self, source: Source, given: float | None = None) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._given = self._scale = given
        self._measured: list[Extent] = []
        self._images = self._floating = self._negative = self._clipped = 0
        self._first_clipped = ""

    def __call__(self) -> float:
        with self._lock:
            if self._scale is None:
                self._measured = self._measure()
                self._scale = choose_full_scale(self._measured) if self._measured else float(LEVELS[0])
            return self._scale

    def count(self, name: str, extent: Extent) -> None:
        """Take note of a deep image that was decoded with this scale; in the order of the source."""
        self._images += 1
        self._floating += extent.floating
        self._negative += extent.lowest < 0
        if extent.highest > self():
            self._clipped += 1
            self._first_clipped = self._first_clipped or f"'{name}' (up to {_number(extent.highest)})"

    def depth(self) -> Depth:
        """What became of the images counted so far."""
        return Depth(self._scale, self._images, self._clipped, self._in_words() if self._images else "")

    def _in_words(self) -> str:
        full_scale = _number(self())
        words = f"{self._kind()}: 0 to {full_scale} becomes 0 to 255"
        if self._measured:
            largest = [extent.highest for extent in self._measured]
            words += f" (largest value of each of the {len(largest)} measured: {_range(largest)})"
        elif self._given is not None:
            words += ", as given"
        if self._clipped:
            words += f"; clipped, for values above {full_scale}: {self._clipped}, the first {self._first_clipped}"
        if self._negative:
            words += f"; values below 0 become 0: in {self._negative}"
        return words

    def _kind(self) -> str:
        count = f"{self._images} image{'s' * (self._images != 1)}"
        if self._floating == self._images:
            return f"{count} of floating-point numbers"
        return f"{count} of more than 8 bits" + f" ({self._floating} floating-point)" * (self._floating > 0)

    def _measure(self) -> list[Extent]:
        """Extents of at most `SAMPLE` deep images, evenly spaced; without those that cannot be read."""
        deep = [index for index in range(len(self._source.names)) if self._look(index, is_deep)]
        chosen = np.unique(np.linspace(0, len(deep) - 1, min(SAMPLE, len(deep))).round().astype(int))
        extents = (self._look(deep[place], lambda image: extent_of(image, deep_values(image))) for place in chosen)
        return [extent for extent in extents if extent is not None]

    def _look(self, index: int, seen: Callable[[Image.Image], Seen]) -> Seen | None:
        """What is `seen` of an image; None where it cannot be read."""
        try:
            with self._source.open(index) as image:
                return seen(image)
        except Exception:  # will be set aside, with the reason, when its turn comes
            return None


def _range(values: Sequence[float]) -> str:
    if min(values) == max(values):
        return _number(values[0])
    return f"{_number(min(values))} to {_number(max(values))}, median {_number(statistics.median(values))}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value == round(value) else f"{value:.4g}"
