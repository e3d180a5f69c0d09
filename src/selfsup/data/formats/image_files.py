"""Which files are taken for images, and what opens each of them: Pillow, or a reader of what Pillow has no mode for."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from selfsup.data.audit import printable
from selfsup.data.formats import array_files, dicom_files
from selfsup.data.formats.scientific_tiff import ScientificTiff, has_more_channels
from selfsup.errors import UserError

# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".ico", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc",
    ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pcx", ".pfm", ".pgm", ".png",
    ".pnm", ".ppm", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp",
}) | dicom_files.SUFFIXES
# Not every format that Pillow reads: some of its readers start other programs (EPS runs
# Ghostscript), and a file's content, not its name, decides which reader it gets.
_FORMATS = (
    "JPEG", "PNG", "TIFF", "WEBP", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF", "ICO", "PCX",
    "QOI", "SGI", "TGA",
)
# fmt: on
#: Files that are images where there are no others: beside pictures they are masks, labels, embeddings.
ARRAY_SUFFIXES = array_files.SUFFIXES


@lru_cache(maxsize=1)
def readable_formats() -> tuple[str, ...]:
    """Formats that this installation of Pillow reads, of those that are safe and hold photographs."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def suffix_of(name: str | Path) -> str:
    """The ending of a file's name, in lower case: what tells files that are taken for images."""
    stem, _, ending = os.fspath(name).rpartition(".")
    if stem and ending.isalnum() and stem[-1].isalnum():  # what most names are, at a third of the time
        return f".{ending.lower()}"
    return os.path.splitext(name)[1].lower()


def require_readers(names: Iterable[str]) -> None:
    """Refuse files of these names if some are of a kind that an extra reads, which is not installed.

    Raises
    ------
    UserError
        Names the extra.
    """
    endings = tuple(dicom_files.SUFFIXES)
    found = next((name for name in names if name.lower().endswith(endings)), None)
    if found and find_spec("pydicom") is None:
        raise UserError(f"'{printable(found)}' is a DICOM file, which pydicom reads: pip install 'selfsup[dicom]'.")


def open_image(file: Path | BinaryIO, name: str = "") -> Image.Image:
    """An image that is opened, and not read yet.

    Parameters
    ----------
    file : Path or file object
    name : str
        Of a file object, whose ending says what is no picture.

    Raises
    ------
    Exception
        Whatever the readers raise; Pillow's where neither it nor tifffile can open it.
    """
    suffix = suffix_of(file if isinstance(file, Path) else name)
    if suffix in ARRAY_SUFFIXES:
        return array_files.open_array(file, suffix)
    if suffix in dicom_files.SUFFIXES:
        return dicom_files.DicomImage(file)
    try:
        image = Image.open(file, formats=readable_formats())
    except UnidentifiedImageError as error:
        try:
            return _tiff(file)
        except Image.DecompressionBombError:
            raise
        except Exception:  # as tifffile has it; Pillow's is the better reason
            raise error from None
    if image.format != "TIFF":
        return image
    if has_more_channels(image):
        if isinstance(file, Path):
            image.close()
        return _tiff(file)
    image.filename = ""  # else Pillow may map the file into memory as if an image that lies on its side stood upright
    return image


def _tiff(file: Path | BinaryIO) -> ScientificTiff:
    if not isinstance(file, Path):
        file.seek(0)
    return ScientificTiff(file)
