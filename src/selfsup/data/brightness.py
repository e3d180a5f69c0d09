"""How values of more than 8 bits become 8-bit ones: one scale for each kind of image of a study.

A scale per image would stretch a dark image as bright as a bright one and lose what tells them apart, so a
sample of the data set decides: for images of integers (10 to 32 bits, grey or colour) and of floating-point
numbers apart, because they are of different instruments. Images of 8 bits stay as they are.

1. **Of an image** count the medians of 3 x 3 pixels, but for the outermost 0.1 % on either side, and those pixels that
   lie beyond them by no more than they lie apart. So dead and hot pixels, which stand alone, decide nothing, and small
   bright objects do: they are what many microscopes and telescopes look for.
2. **Of the images** count all but up to one in 20 (one, if there are five or more), which do not count
   if they reach further beyond the others than three times what those span: one stray 16-bit image would
   leave a 12-bit data set 16 of 256 grey levels.
3. What is left, from the lowest to the highest, becomes 0 to 255, be it negative or far from 0; but if it is at least
   half of a usual scale (0 to 255, 1023, 4095, 16383 or 65535; of floating-point numbers 0 to 1, -1 to 1, 0 to 255 or
   0 to 65535), that whole scale does: black stays black, and later images are not cut off.

Red, green and blue have one scale, or colours would shift. Of images of other channels each channel has its own, by
the same steps: they are measurements of different things, such as two dyes or a band in the infrared, and a faint one
beside a bright one would be black.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from selfsup.data.audit import AS_GIVEN, AuditEntry
from selfsup.data.formats.depth import Kind

Range = tuple[float, float]
#: Of images of other channels than colours, one range for each channel.
Scale = Range | tuple[Range, ...]
#: Share of an image's medians at either end that do not count, and pixels that are looked at.
OUTLYING, PIXELS = 0.001, 2**13
#: One measured image in this many may be a stray; and one of any sample of at least `FEW`.
STRAY, FEW = 20, 5
EIGHT_BITS: Range = (0.0, 255.0)
_USUAL: dict[Kind, tuple[Range, ...]] = {
    "integer": tuple((0.0, 2.0**bits - 1) for bits in (8, 10, 12, 14, 16)),
    "floating": ((0.0, 1.0), (-1.0, 1.0), EIGHT_BITS, (0.0, 65535.0)),
}
_NAMES = {"8-bit": "of 8 bits", "integer": "of more than 8 bits", "floating": "of floating-point numbers"}
#: A median image that uses less of the scale than this is told of.
LITTLE = 0.1


@dataclass(frozen=True)
class Extent:
    """Which values an image has.

    Attributes
    ----------
    kind : {"8-bit", "integer", "floating"}
    low, high : float
        Without outliers; NaN if it has none.
    absent : bool
        Whether values are missing in some places.
    """

    kind: Kind
    low: float
    high: float
    absent: bool = False


def extent_of(values: np.ndarray, kind: Kind) -> Extent:
    """Extent of the values of an image, numbers or NaN of shape (H, W) or (H, W, 3), by step 1 above."""
    missing = values.dtype != np.uint8 and bool(np.isnan(values).any())
    pixels, medians = _pixels_and_medians(values, missing)
    if not pixels.size:
        return Extent(kind, np.nan, np.nan, missing)
    last = medians.size - 1
    first, final = sorted((math.ceil(OUTLYING * last), int((1 - OUTLYING) * last)))
    ordered = np.partition(medians, (first, final)).astype(float)
    apart = ordered[final] - ordered[first]
    near = pixels[(pixels >= ordered[first] - apart) & (pixels <= ordered[final] + apart)] if apart else medians
    return Extent(kind, float(near.min()), float(near.max()), missing)


def _pixels_and_medians(values: np.ndarray, missing: bool) -> tuple[np.ndarray, np.ndarray]:
    """Values of at most ``PIXELS`` pixels that have one, and the medians of the 3 x 3 pixels around each."""
    if values.dtype == np.uint8:  # for which no scale is to be found
        pixels = values.ravel()[:: values.size // PIXELS | 1]
        return pixels, pixels
    padded = np.pad(values, ((1, 1), (1, 1), *[(0, 0)] * (values.ndim - 2)), "edge")
    windows = sliding_window_view(padded, (3, 3), axis=(0, 1))  # type: ignore[call-overload]
    rows, columns = values.shape[:2]
    count = rows * columns
    chosen = np.arange(count) if count <= PIXELS else np.random.default_rng(0).integers(count, size=PIXELS)
    around = windows[chosen // columns, chosen % columns].reshape(-1, 9)
    pixels = around[:, 4]
    if missing:
        around, pixels = around[~np.isnan(pixels)], pixels[~np.isnan(pixels)]
    return pixels, np.nanmedian(around, axis=1) if missing else np.median(around, axis=1)


def choose_range(extents: Sequence[Extent], kind: Kind) -> Range:
    """The values that become 0 and 255 in images of one kind, by steps 2 and 3 above."""
    lows = sorted(extent.low for extent in extents if extent.low == extent.low)
    highs = sorted(extent.high for extent in extents if extent.high == extent.high)
    if not lows:
        return _USUAL[kind][0]
    strays = max(len(lows) // STRAY, int(len(lows) >= FEW))
    reach = 3 * (highs[-1 - strays] - lows[strays])
    low = next(value for value in lows if value >= lows[strays] - reach)
    high = next(value for value in reversed(highs) if value <= highs[-1 - strays] + reach)
    for usual in _USUAL[kind]:
        if usual[0] <= low and high <= usual[1]:
            return usual if high - low >= (usual[1] - usual[0]) / 2 or low == high else (low, high)
    return low, high if high > low else low + 1


def ranges_of(scale: Scale) -> list[Range]:
    """The ranges of a scale: one, or one for each channel."""
    return [(float(low), float(high)) for low, high in np.reshape(scale, (-1, 2)).tolist()]


def to_eight_bits(values: np.ndarray, scale: Scale) -> np.ndarray:
    """Values of which those of `scale` become 0 to 255, uint8 of the same shape; black where there are none."""
    low, factor = np.array([(low, 255 / (high - low)) for low, high in ranges_of(scale)], np.float32).T
    scaled = np.fmax((values - low) * factor, 0)  # of NaN and 0, too
    return np.rint(np.minimum(scaled, 255)).astype(np.uint8)


@dataclass
class ScaleTally:
    """What one scale does to the images of a kind.

    Parameters
    ----------
    kind : {"8-bit", "integer", "floating"}
    scale : Scale
        The values that become 0 and 255.
    channels : sequence of int
        Numbers of the channels, where each has its own.
    """

    kind: Kind
    scale: Scale
    channels: Sequence[int] = ()
    _images: int = 0
    _used: array[float] = field(default_factory=lambda: array("d"))
    _absent: int = 0
    _beyond: int = 0
    _first_beyond: tuple[str, Extent, int] | None = None

    def count(self, name: str, extents: Sequence[Extent]) -> None:
        """Take note of an image, by the extent of each channel or of all; in the order of the source."""
        self._absent += any(extent.absent for extent in extents)
        self._images += 1
        beyond = []
        for place, (extent, (low, high)) in enumerate(zip(extents, self._ranges(len(extents)), strict=True)):
            self._used.append(max(0.0, min(extent.high, high) - max(extent.low, low)) / (high - low))
            if max(low - extent.low, extent.high - high) > LITTLE * (high - low):
                beyond.append((name, extent, place))
        self._beyond += bool(beyond)
        self._first_beyond = self._first_beyond or next(iter(beyond), None)

    def _ranges(self, count: int) -> list[Range]:
        ranges = ranges_of(self.scale)
        return ranges * count if len(ranges) == 1 else ranges

    def entries(self, *, given: bool) -> Iterator[AuditEntry]:
        """What a user should know of it; `given`: the scale was not decided from these images."""
        images = f"{self._images} image{'s' * (self._images != 1)} {_NAMES[self.kind]}"
        used = np.median(np.reshape(self._used, (self._images, -1)), axis=0)
        scales = list(map(_range, self._ranges(len(used))))
        if self.kind != "8-bit":
            single = len(ranges_of(self.scale)) == 1
            named = [f"{becomes} in channel {number}" for becomes, number in zip(scales, self.channels, strict=False)]
            detail = f"{images}: {scales[0] if single else ', '.join(named)} becomes 0 to 255" + AS_GIVEN * given
            if self._absent:
                detail += f"; black where they have no values (NaN, infinite, nodata), in {self._absent}"
            yield AuditEntry("*", "brightness scale", detail)
        if self._first_beyond:
            name, extent, place = self._first_beyond
            detail = (
                f"{self._beyond} of {images} go beyond the scale {scales[place]}"
                f"{self._in_channel(place)}, the first '{name}' ({_range((extent.low, extent.high))})"
            )
            yield AuditEntry("*", "beyond the scale", detail)
        least = int(used.argmin())
        if used[least] < LITTLE:
            yield AuditEntry(
                "*",
                "little contrast",
                f"the median of {images} uses {used[least]:.1%} of the scale {scales[least]}"
                f"{self._in_channel(least)}, so what tells them apart may be lost; "
                + ("stretch the files" if self.kind == "8-bit" else "give --full-scale or stretch the files"),
            )

    def _in_channel(self, place: int) -> str:
        return f" in channel {self.channels[place]}" if self.channels else ""


def _range(ends: Range) -> str:
    return f"{_number(ends[0])} to {_number(ends[1])}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value == round(value) else f"{value:.4g}"
