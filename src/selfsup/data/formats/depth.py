"""What an image of more than 8 bits holds: its values as numbers, and where there are none.

Absent are NaN and infinite values, numbers beyond all measure (the 3.4e38 of many rasters), what the file
itself calls nodata (GDAL's tag of a TIFF, the transparent value of a PNG), and, as the smallest value of an
image, the numbers that usually stand for nodata.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from selfsup.data.formats.array_image import COLOURS, ArrayImage
from selfsup.data.formats.deep_colour import bits_per_colour, read_channels

Kind = Literal["8-bit", "integer", "floating"]
GDAL_NODATA = 42113  # the TIFF tag
#: Numbers that stand for nodata where they are the smallest, and what no measurement reaches.
SENTINELS, BEYOND = (-999, -9999, -99999, -32767, -32768, -(2**31)), 1e20


class DeepPixels(NamedTuple):
    """Values of an image of more than 8 bits.

    Attributes
    ----------
    values : ndarray of float32, shape (H, W), (H, W, 3) or, of other channels than colours, (H, W, C)
        NaN where absent.
    alpha : ndarray of float32, shape (H, W), or None
        From 0, transparent, to 1.
    """

    values: np.ndarray
    alpha: np.ndarray | None = None


def kind_of(image: Image.Image) -> Kind:
    """Whether an opened image, not yet loaded, holds integers of more than 8 bits, or floating-point numbers."""
    if isinstance(image, ArrayImage):
        return "8-bit" if image.dtype == np.uint8 else "floating" if image.dtype.kind == "f" else "integer"
    if image.mode == "F":
        return "floating"
    deep = image.mode == "I" or image.mode.startswith("I;") or bits_per_colour(image) > 8
    return "integer" if deep else "8-bit"


def channels_of(image: Image.Image) -> int:
    """How many channels an opened image has: three for grey and colours, transparency apart."""
    return image.channels if isinstance(image, ArrayImage) else COLOURS


def deep_pixels(image: Image.Image) -> DeepPixels:
    """Values of an opened image whose kind is not ``8-bit``, before it is loaded.

    Raises
    ------
    Exception
        Whatever the readers raise for a damaged image.
    """
    colour = image.mode in ("RGB", "RGBA", "LA")
    if isinstance(image, ArrayImage):
        channels = image.read()
    else:
        channels = read_channels(image) if colour else np.asarray(image)
    alpha = None
    if colour and image.has_transparency_data and channels.shape[2] in (2, 4):
        opaque = np.iinfo(channels.dtype).max if channels.dtype.kind == "u" else 1
        alpha = channels[..., -1].astype(np.float32) / opaque
    if colour:
        channels = channels[..., 0] if channels.shape[2] < COLOURS else channels[..., :COLOURS]
    return DeepPixels(_without_absent(channels.astype(np.float32), _nodata(image)), alpha)


def _nodata(image: Image.Image) -> float:
    """The value that the file says is none, NaN if it says nothing."""
    stated: Any = getattr(image, "tag_v2", {}).get(GDAL_NODATA, image.info.get("transparency"))
    try:
        return float(stated)
    except (TypeError, ValueError):
        return np.nan


def _without_absent(values: np.ndarray, nodata: float) -> np.ndarray:
    absent = ~(np.abs(values) < BEYOND) | (values == np.float32(nodata))
    while not absent.all() and (lowest := values.min(where=~absent, initial=np.inf)) in SENTINELS:
        absent |= values == lowest
    return np.where(absent, np.float32(np.nan), values) if absent.any() else values
