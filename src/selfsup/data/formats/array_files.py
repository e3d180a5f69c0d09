"""NumPy's files as images: ``.npy``, and ``.npz`` of one array."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import UnidentifiedImageError

from selfsup.data.formats.array_image import PixelArray

SUFFIXES = frozenset({".npy", ".npz"})


def open_array(file: Path | BinaryIO, suffix: str) -> PixelArray:
    """The image or, where the array has four axes, the images of a file; nothing in it can run code.

    Of an array of three axes the shorter one of the first and the last is taken for the channels (the last, if
    they are equal); of one of four axes the first are the pages, and the second or the last the channels.

    Raises
    ------
    UnidentifiedImageError
        If the file holds no array of two to four axes, or several arrays.
    """
    mode: Literal["r"] | None = "r" if suffix == ".npy" and isinstance(file, Path) else None
    try:
        values = np.load(file, mmap_mode=mode, allow_pickle=False)
        if isinstance(values, np.lib.npyio.NpzFile):
            with values as arrays:
                if len(arrays.files) != 1:
                    raise UnidentifiedImageError(f"holds {len(arrays.files)} arrays, not one")
                values = arrays[arrays.files[0]]
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UnidentifiedImageError(f"no array that loads without running code ({error})") from None
    if values.ndim not in (2, 3, 4):
        raise UnidentifiedImageError(f"an array of {values.ndim} axes is no image")
    if values.ndim == 2:
        values = values[..., None]
    if values.shape[-3] < values.shape[-1]:
        values = np.moveaxis(values, -3, -1)
    return PixelArray(values if values.ndim == 4 else values[None])
