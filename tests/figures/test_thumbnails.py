"""The sheet of thumbnails: each image where its geometry says, whole and undistorted."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from selfsup.figures.thumbnails import sheet_for, thumbnail_sheet


def plain(colour: tuple[int, int, int], height: int = 20, width: int = 20) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def cut(content: bytes, sheet, slot: int) -> np.ndarray:
    row, column = divmod(slot, sheet.columns)
    whole = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))
    side = sheet.side
    return whole[row * side : (row + 1) * side, column * side : (column + 1) * side]


def test_every_image_lies_in_its_slot():
    colours = [(40 * i, 255 - 40 * i, 90) for i in range(6)]
    sheet = sheet_for(6)
    content = thumbnail_sheet(map(plain, colours), sheet)
    for slot, colour in enumerate(colours):
        found = cut(content, sheet, slot)[8:-8, 8:-8, :3].mean(axis=(0, 1))
        np.testing.assert_allclose(found, colour, atol=12)


@pytest.mark.parametrize(("height", "width"), [(10, 40), (300, 75)])
def test_images_keep_their_aspect_ratio(height, width):
    sheet = sheet_for(1)
    opaque = cut(thumbnail_sheet([plain((200, 30, 30), height, width)], sheet), sheet, 0)[..., 3] > 127
    rows, columns = opaque.any(axis=1).sum(), opaque.any(axis=0).sum()
    assert max(rows, columns) == sheet.side
    assert rows / columns == pytest.approx(height / width, rel=0.1)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 1000, 5000, 40_000, 200_000])
def test_the_sheet_holds_all_and_fits_the_format(count):
    sheet = sheet_for(count)
    assert sheet.rows * sheet.columns >= count
    # WebP ends at 16383 pixels a side.
    assert sheet.columns * sheet.side <= 16383


def test_an_empty_sheet_is_one_transparent_square():
    image = Image.open(io.BytesIO(thumbnail_sheet([], sheet_for(0))))
    assert image.size == (64, 64)
    assert np.asarray(image.convert("RGBA"))[..., 3].max() == 0
