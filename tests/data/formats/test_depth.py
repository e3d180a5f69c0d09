"""What has more than 8 bits, and where such an image has no values."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from selfsup.data.formats.depth import GDAL_NODATA, deep_pixels, kind_of


def stored(values: np.ndarray, format: str = "TIFF", **options: Any) -> Image.Image:
    """The image as a file would give it back."""
    file = io.BytesIO()
    Image.fromarray(values).save(file, format, **options)
    return Image.open(file)


@pytest.mark.parametrize(
    ("dtype", "format", "kind"),
    [
        (np.uint8, "PNG", "8-bit"), (bool, "TIFF", "8-bit"), (np.uint16, "PNG", "integer"),
        (np.uint16, "TIFF", "integer"), (np.int32, "TIFF", "integer"), (np.float32, "TIFF", "floating"),
    ],
)  # fmt: skip
def test_the_kind_is_that_of_the_numbers(dtype: type, format: str, kind: str) -> None:
    assert kind_of(stored(np.ones((4, 4), dtype), format)) == kind


def absent(values: np.ndarray, **options: Any) -> list[bool]:
    return np.isnan(deep_pixels(stored(values, **options)).values).ravel().tolist()


@pytest.mark.parametrize("nodata", [np.nan, np.inf, -np.inf, 3.4e38, -3.4028235e38, 1e30, -9999, -99999, -32768])
def test_what_usually_stands_for_nodata_is_absent(nodata: float) -> None:
    assert absent(np.array([[5.0, nodata, -3.0, nodata, 800.0]], np.float32)) == [False, True, False, True, False]


def test_two_kinds_of_nodata_are_both_absent() -> None:
    assert absent(np.array([[-99999, -9999, 7, -8]], np.int32)) == [True, True, False, False]


def test_a_number_that_often_stands_for_nodata_is_a_value_among_lower_ones() -> None:
    assert absent(np.array([[-9999, -9998, -20_000, 5]], np.int32)) == [False] * 4


def test_what_the_file_calls_nodata_is_absent() -> None:
    tags = ImageFileDirectory_v2()
    tags[GDAL_NODATA] = "0"
    assert absent(np.array([[0, 1, 500]], np.uint16), tiffinfo=tags) == [True, False, False]
    tags[GDAL_NODATA] = "nothing"
    assert absent(np.array([[0, 1, 500]], np.uint16), tiffinfo=tags) == [False] * 3


def test_an_image_may_have_no_value_at_all() -> None:
    assert absent(np.full((1, 2), -9999, np.float32)) == [True, True]
