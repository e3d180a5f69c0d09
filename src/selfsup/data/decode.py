"""Any image as upright pixels of a bounded size: 8 bits per channel, red, green and blue where it has no others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from selfsup.data.brightness import Extent, Scale, to_eight_bits
from selfsup.data.formats.array_image import COLOURS, ArrayImage
from selfsup.data.formats.depth import DeepPixels, channels_of, deep_pixels, kind_of
from selfsup.data.formats.transparency import is_transparent, on_ground
from selfsup.data.rendering import Renderer, extents_of

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
    """Pixels, uint8 of shape (H, W, C), the values that they were made from, and whether some were transparent."""

    pixels: np.ndarray
    extents: list[Extent]
    transparent: bool


def decode(image: Image.Image, *, store_size: int, renderer: Renderer) -> Decoded:
    """Pixels of an opened image: the page that it is at, turned upright, shrunk where it is large.

    Parameters
    ----------
    image : PIL.Image.Image
        Of any mode.
    store_size : int
        The short side becomes at most this many pixels, and the long side at most four times as
        many; the aspect ratio is kept and nothing is enlarged.
    renderer : Renderer
        Says which channels are taken, which values become black and white in an image of more than 8 bits, and what
        stands behind transparent pixels.

    Returns
    -------
    Decoded

    Raises
    ------
    OtherChannelsError
        If it has not as many channels as most images.
    Exception
        Whatever Pillow, imagecodecs or tifffile raise for a damaged image.
    """
    channels = channels_of(image)
    taken = renderer.channels(channels)
    if channels != COLOURS:
        return _decode_channels(image, taken, store_size, renderer)
    kind = kind_of(image)
    if isinstance(image, ArrayImage) and kind == "8-bit":
        image = Image.fromarray(image.read())
    deep = None if kind == "8-bit" else deep_pixels(image)
    if deep is None:
        _draft(image, fitted_size(*image.size, store_size))
        image.load()
    orientation = _orientation(image)
    if deep is not None:
        image = _rendered(deep, renderer.scale(kind))
    transparent = is_transparent(image)
    image = on_ground(image, renderer.ground()) if transparent else _opaque(image)
    image = _shrunk(image, store_size)
    if orientation in _TURNS:
        image = image.transpose(_TURNS[orientation])
    extents = extents_of(np.asarray(image) if deep is None else deep.values, kind, taken)
    pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    return Decoded(_taken(pixels, taken), extents, transparent)


def _decode_channels(image: Image.Image, taken: tuple[int, ...], store_size: int, renderer: Renderer) -> Decoded:
    """An image of other channels than colours: each scaled and shrunk by itself."""
    kind = kind_of(image)
    values = deep_pixels(image).values
    extents = extents_of(values, kind, taken)
    values = _taken(values, taken)
    pixels = values.astype(np.uint8) if kind == "8-bit" else to_eight_bits(values, renderer.scale(kind))
    planes = [np.asarray(_shrunk(Image.fromarray(plane), store_size)) for plane in np.moveaxis(pixels, 2, 0)]
    return Decoded(np.dstack(planes), extents, transparent=False)


def _taken(pixels: np.ndarray, taken: tuple[int, ...]) -> np.ndarray:
    """The channels of these numbers, from 1, in their order."""
    if taken == tuple(range(1, pixels.shape[2] + 1)):
        return pixels
    return np.ascontiguousarray(pixels[..., [number - 1 for number in taken]])


def _shrunk(image: Image.Image, store_size: int) -> Image.Image:
    size = fitted_size(*image.size, store_size)
    if size == image.size:
        return image
    gap = 1 if _multiple(image.size, size) else _GAP  # a mean over whole pixels needs no filter
    return image.resize(size, Image.Resampling.HAMMING, reducing_gap=gap)


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


def _rendered(deep: DeepPixels, scale: Scale) -> Image.Image:
    """An image of more than 8 bits in mode L or RGB, with its alpha where it has one."""
    image = Image.fromarray(to_eight_bits(deep.values, scale))
    if deep.alpha is not None:
        image.putalpha(Image.fromarray(to_eight_bits(deep.alpha, (0, 1))))
    return image


def _opaque(image: Image.Image) -> Image.Image:
    """An image of 8 bits or fewer without a transparent pixel, in mode L or RGB."""
    if image.mode in ("L", "RGB"):
        return image
    if image.mode == "LAB":
        return _lab_to_rgb(image)
    return image.convert("L" if image.mode in ("1", "LA") else "RGB")


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None
    return converted
