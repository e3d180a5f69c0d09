"""Colours of more than 8 bits, at their full depth: Pillow, which reads all else, keeps the upper 8."""

from __future__ import annotations

from typing import BinaryIO, cast

import numpy as np
from PIL import Image, ImageFile

BITS_PER_SAMPLE = 258  # the TIFF tag
_SIZE_MARKER = b"\xff\x4f\xff\x51"  # begins a JPEG 2000 codestream; its bits stand 40 bytes on
_PIXEL_BOX = b"pixi"  # of an AVIF; the bits of its first channel stand 9 bytes on


def bits_per_colour(image: Image.Image) -> int:
    """Bits of each colour of an opened image; 8 where Pillow reads all there are, or has read the image already."""
    if image.mode not in ("RGB", "RGBA", "LA") or getattr(image, "fp", None) is None:
        return 8
    match image.format:
        case "PNG":
            return 16 if any(";16" in str(tile[3]) for tile in _tiles(image)) else 8
        case "TIFF":
            return max(image.tag_v2.get(BITS_PER_SAMPLE, (8,)))  # type: ignore[attr-defined]
        case "PPM":
            raw = [tile for tile in _tiles(image) if tile[0] == "ppm"]
            return int(raw[0][3][1]).bit_length() if raw else 8
        case "JPEG2000":
            head = _content(image, 4096)
            at = head.find(_SIZE_MARKER)
            return (head[at + 42] & 0x7F) + 1 if 0 <= at < len(head) - 42 else 8
        case "AVIF":
            head = _content(image, 4096)
            at = head.find(_PIXEL_BOX)
            return head[at + 9] if head[4:8] == b"ftyp" and 0 <= at < len(head) - 9 else 8
    return 8


def read_channels(image: Image.Image) -> np.ndarray:
    """Channels of an image for which :func:`bits_per_colour` is above 8, before it is loaded.

    Returns
    -------
    ndarray, shape (H, W, C)
        Grey or RGB, and alpha where there is one.

    Raises
    ------
    Exception
        Whatever the readers raise for a damaged image.
    """
    import imagecodecs  # together with tifffile 100 ms, which most studies have no need of

    match image.format:
        case "PNG":
            return np.asarray(imagecodecs.png_decode(_content(image)))
        case "JPEG2000":
            return np.asarray(imagecodecs.jpeg2k_decode(_content(image)))
        case "AVIF":
            return _read_avif(image)
        case "PPM":
            content = _content(image)[_tiles(image)[0][2] :]
            return np.frombuffer(content, ">u2", image.width * image.height * 3).reshape(image.height, image.width, 3)
    return _read_page(image)


def _read_avif(image: Image.Image) -> np.ndarray:
    """Colours as numbers of the file's own bits, and alpha as one of 16, as other readers have it."""
    import imagecodecs

    most = 2 ** bits_per_colour(image) - 1
    channels = np.atleast_3d(imagecodecs.avif_decode(_content(image), index=image.tell()))
    if channels.shape[2] in (2, 4):
        channels[..., -1] = np.rint(channels[..., -1] * (np.iinfo(channels.dtype).max / most))
    return channels


def _read_page(image: Image.Image) -> np.ndarray:
    import tifffile

    file = _file_of(image)
    file.seek(0)
    page = tifffile.TiffFile(file).pages[image.tell()]
    values = np.asarray(page.asarray(maxworkers=1))
    return np.moveaxis(values, 0, -1) if page.axes.startswith("S") else values  # a plane for each colour


def _tiles(image: Image.Image) -> list[tuple]:
    return getattr(image, "tile", [])


def _content(image: Image.Image, most: int = -1) -> bytes:
    """The image's file from its beginning; Pillow finds it where it was."""
    file = _file_of(image)
    place = file.tell()
    file.seek(0)
    content = file.read(most)
    file.seek(place)
    return content


def _file_of(image: Image.Image) -> BinaryIO:
    assert isinstance(image, ImageFile.ImageFile)
    assert image.fp is not None  # until it is loaded
    return cast(BinaryIO, image.fp)
