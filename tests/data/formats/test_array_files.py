"""NumPy's files are images where a folder holds no others, and run no code."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from pictures import save_picture
from selfsup.data.build import prepare_store
from selfsup.data.formats.array_files import open_array
from selfsup.data.formats.image_files import open_image
from selfsup.data.opening import pixel_limit
from selfsup.data.sources import open_source

VALUES = np.random.default_rng(0).integers(0, 4096, (6, 9, 5), np.uint16)


def save(path: Path, values: np.ndarray, **options: bool) -> Path:
    np.save(path, values, **options)
    return path


@pytest.mark.parametrize("values", [VALUES, np.moveaxis(VALUES, 2, 0)], ids=["last", "first"])
def test_the_shorter_outer_axis_holds_the_channels(tmp_path: Path, values: np.ndarray) -> None:
    image = open_image(save(tmp_path / "a.npy", values))
    assert (image.size, image.channels) == ((9, 6), 5)
    assert np.array_equal(image.read(), VALUES)


def test_four_axes_are_pages(tmp_path: Path) -> None:
    image = open_image(save(tmp_path / "a.npy", np.stack([VALUES, VALUES + 1])))
    image.seek(1)
    assert np.array_equal(image.read(), VALUES + 1)


def test_an_npz_of_one_array_is_an_image_and_one_of_several_is_none(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", image=VALUES)
    np.savez(tmp_path / "b.npz", x=VALUES, y=VALUES)
    assert np.array_equal(open_array(tmp_path / "a.npz", ".npz").read(), VALUES)
    with pytest.raises(UnidentifiedImageError, match="holds 2 arrays"):
        open_array(tmp_path / "b.npz", ".npz")


class Hostile:
    def __reduce__(self) -> tuple:
        return pytest.fail, ("code of the file was run",)


def test_what_would_run_code_or_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(Hostile()))
    save(tmp_path / "objects.npy", np.array([[Hostile()]]), allow_pickle=True)
    save(tmp_path / "labels.npy", np.arange(5))
    save(tmp_path / "texts.npy", np.array([["a", "b"]]))
    (tmp_path / "cut.npy").write_bytes(save(tmp_path / "whole.npy", VALUES).read_bytes()[:-9])
    for name in ("pickle", "objects", "labels", "texts", "cut"):
        with pytest.raises(UnidentifiedImageError):
            open_image(tmp_path / f"{name}.npy")


def test_the_limit_of_pixels_holds_for_them(tmp_path: Path) -> None:
    save(tmp_path / "a.npy", VALUES)
    with pixel_limit(54):
        open_image(tmp_path / "a.npy")
    with pixel_limit(52), pytest.raises(Image.DecompressionBombError, match="9 x 6 pixels"):
        open_image(tmp_path / "a.npy")


def test_beside_pictures_they_are_not_taken_and_that_is_said(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "d").mkdir(exist_ok=True)
        save(tmp_path / f"d/{number}.npy", VALUES[..., 0] + number)
    alone = open_source(str(tmp_path / "d"))
    assert len(prepare_store(alone, store_size=8, cache_dir=tmp_path / "cache")) == 3
    save_picture(tmp_path / "d/photo.png")
    (ignored,) = open_source(str(tmp_path / "d")).ignored
    assert (ignored.path, ignored.problem, ignored.count) == ("*.npy", "ignored", 3)
