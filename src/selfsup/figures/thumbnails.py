"""One sheet that holds the thumbnails of many images, for pages that show them on hover."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

QUALITY = 75


@dataclass(frozen=True)
class Sheet:
    """Geometry of a sheet: thumbnail i lies in row i // columns and column i % columns.

    Attributes
    ----------
    count : int
        Thumbnails on the sheet.
    columns : int
        Thumbnails per row.
    side : int
        Side of the square given to each, in pixels.
    """

    count: int
    columns: int
    side: int

    @property
    def rows(self) -> int:
        """Rows of thumbnails."""
        return math.ceil(self.count / self.columns)


def sheet_for(count: int) -> Sheet:
    """The sheet of `count` thumbnails; the more there are, the smaller they get."""
    side = 64 if count <= 2500 else 48 if count <= 10_000 else 32
    return Sheet(count, max(1, math.ceil(math.sqrt(count))), side)


def thumbnail_sheet(images: Iterable[NDArray[np.uint8]], sheet: Sheet) -> bytes:
    """Draw the images onto one sheet.

    Parameters
    ----------
    images : iterable of uint8 arrays, shape [H, W, 3]
        Read once, one at a time. Each is shown whole, its aspect ratio kept, the rest of its
        square transparent; small images are enlarged pixel by pixel.
    sheet : Sheet
        Where each of them goes; see :func:`sheet_for`.

    Returns
    -------
    bytes
        A WebP image of ``sheet.columns * sheet.side`` pixels width.
    """
    canvas = Image.new("RGBA", (sheet.columns * sheet.side, max(1, sheet.rows) * sheet.side))
    for position, pixels in enumerate(images):
        thumbnail = _fit(Image.fromarray(pixels), sheet.side)
        row, column = divmod(position, sheet.columns)
        left = column * sheet.side + (sheet.side - thumbnail.width) // 2
        top = row * sheet.side + (sheet.side - thumbnail.height) // 2
        canvas.paste(thumbnail, (left, top))
    buffer = io.BytesIO()
    canvas.save(buffer, format="WEBP", quality=QUALITY, method=4)
    return buffer.getvalue()


def _fit(image: Image.Image, side: int) -> Image.Image:
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
