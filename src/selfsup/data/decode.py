"""Any image that Pillow opens, as upright RGB pixels of a bounded size."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from selfsup.data.depth import Extent, deep_values, extent_of, is_deep

ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LONGEST_TO_SHORTEST = 4
# A large reduction begins with a cheap one, down to this many times the pixels wanted per side;
# Pillow's own documentation calls the result of a factor of 2 hard to tell from the costly one.
_GAP = 2
_JPEG_SCALES = (2, 4, 8)


class Decoded(NamedTuple):
    """Pixels, uint8 of shape (H, W, 3), and what values they were made from where those had more than 8 bits."""

    pixels: np.ndarray
    extent: Extent | None


def decode(image: Image.Image, *, store_size: int, scale: Callable[[], float]) -> Decoded:
    """Pixels of an opened image: its first frame, turned upright, shrunk where it is large.

    Parameters
    ----------
    image : PIL.Image.Image
        Of any mode.
    store_size : int
        The short side becomes at most this many pixels, and the long side at most four times as
        many; the aspect ratio is kept and nothing is enlarged.
    scale : callable
        Gives the value that becomes 255 in an image of more than 8 bits.

    Returns
    -------
    Decoded

    Raises
    ------
    Exception
        Whatever Pillow raises for a damaged image.
    """
    _draft(image, fitted_size(*image.size, store_size))
    image.load()
    orientation = _orientation(image)
    image, extent = _to_eight_bits(image, scale)
    size = fitted_size(*image.size, store_size)
    if size != image.size:
        gap = 1 if _multiple(image.size, size) else _GAP  # a mean over whole pixels needs no filter
        image = image.resize(size, Image.Resampling.HAMMING, reducing_gap=gap)
    if orientation in _TURNS:
        image = image.transpose(_TURNS[orientation])
    return Decoded(np.asarray(image if image.mode == "RGB" else image.convert("RGB")), extent)


def fitted_size(width: int, height: int, store_size: int) -> tuple[int, int]:
    """(width, height) shrunk, if need be, to what the store keeps."""
    short, long = sorted((width, height))
    ratio = min(1.0, store_size / short, LONGEST_TO_SHORTEST * store_size / long)
    return max(1, round(width * ratio)), max(1, round(height * ratio))


def _draft(image: Image.Image, size: tuple[int, int]) -> None:
    """Have a JPEG decoded at 1/2, 1/4 or 1/8, if that is just the size wanted or leaves enough."""
    gap = 1 if _multiple(image.size, size) in _JPEG_SCALES else _GAP
    image.draft(image.mode, (gap * size[0], gap * size[1]))


def _multiple(size: tuple[int, int], wanted: tuple[int, int]) -> int:
    """By how much `size` is `wanted`, if it is so by a whole number; else 0."""
    times = size[0] // wanted[0]
    return times if size == (times * wanted[0], times * wanted[1]) else 0


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none or it is damaged."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged metadata is no reason to lose the picture
        return 1


def _to_eight_bits(image: Image.Image, scale: Callable[[], float]) -> tuple[Image.Image, Extent | None]:
    """The image in mode L or RGB, and its extent if it had more than 8 bits."""
    if is_deep(image):
        values = deep_values(image)
        scaled = values * (255 / scale())
        return Image.fromarray(np.rint(scaled.clip(0, 255)).astype(np.uint8)), extent_of(image, values)
    return _shallow(image), None


def _shallow(image: Image.Image) -> Image.Image:
    """An image of 8 bits or fewer, in mode L or RGB."""
    if image.has_transparency_data:
        return _on_black(image.convert("RGBA"))
    if image.mode in ("L", "RGB"):
        return image
    if image.mode == "LAB":
        return _lab_to_rgb(image)
    return image.convert("L" if image.mode == "1" else "RGB")


def _on_black(image: Image.Image) -> Image.Image:
    """Composite on black: what lies under transparent pixels is arbitrary, and black is also
    what pads an image and what a view that reaches beyond its border shows."""
    return Image.merge("RGB", image.convert("RGBa").split()[:3])


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None
    return converted
