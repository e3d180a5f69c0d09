"""TIFFs of numbers that Pillow has no mode for are images like others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, UnidentifiedImageError

from selfsup.data.build import prepare_store
from selfsup.data.formats.depth import deep_pixels, kind_of
from selfsup.data.formats.image_files import open_image
from selfsup.data.opening import pixel_limit
from selfsup.data.pages import page_numbers, with_pages
from selfsup.data.sources import open_source

VALUES = np.linspace(-3, 12, 96).reshape(8, 12)
COLOURS = np.dstack([VALUES, VALUES[::-1], VALUES + 1])


def save(path: Path, values: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, photometric="rgb" if values.shape[-1] == 3 else "minisblack", **options)
    return path


@pytest.mark.parametrize("values", [VALUES, COLOURS], ids=["grey", "colour"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, np.uint32])
def test_numbers_of_any_width_are_read(tmp_path: Path, dtype: Any, values: np.ndarray) -> None:
    saved = np.abs(values * 100).astype(dtype)
    with open_image(save(tmp_path / "a.tif", saved)) as image:
        assert kind_of(image) == ("floating" if np.dtype(dtype).kind == "f" else "integer")
        assert image.size == (12, 8)
        assert np.array_equal(deep_pixels(image).values, saved.astype(np.float32))


def test_they_are_images_of_a_study_with_nodata_and_pages(tmp_path: Path) -> None:
    pages = np.stack([VALUES, VALUES + 1, VALUES + 2])
    pages[:, :3, :3] = -7777
    save(tmp_path / "d/a.tif", pages, extratags=[(42113, "s", 0, "-7777", False)])
    save(tmp_path / "d/b.tif", VALUES)
    with open_image(tmp_path / "d/a.tif") as image:
        assert page_numbers(image) == [0, 1, 2]
    store = prepare_store(with_pages(open_source(str(tmp_path / "d")), "all"), store_size=32, cache_dir=tmp_path / "c")
    assert store.names == ("a.tif#page=1", "a.tif#page=2", "a.tif#page=3", "b.tif")
    assert store.rendering.floating == pytest.approx((-3, 14))
    assert not store.image(2)[:3, :3].any()
    expected = (VALUES + 2 + 3) / 17 * 255
    assert np.abs(store.image(2)[3:, :, 0] - expected[3:]).max() <= 0.6


def test_what_is_no_picture_is_refused_as_pillow_does(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no image")
    save(tmp_path / "complex.tif", VALUES.astype(np.complex64))
    for name in ("text.tif", "complex.tif"):
        with pytest.raises(UnidentifiedImageError):
            open_image(tmp_path / name)


def test_the_limit_of_pixels_holds_for_them(tmp_path: Path) -> None:
    save(tmp_path / "a.tif", VALUES)
    with pixel_limit(96):
        open_image(tmp_path / "a.tif").close()
    with pixel_limit(94), pytest.raises(Image.DecompressionBombError):
        open_image(tmp_path / "a.tif")
