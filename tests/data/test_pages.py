"""Pages and frames are counted, and can be images of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pictures import save_picture, smooth
from selfsup.data.build import prepare_store
from selfsup.data.pages import file_of, page_numbers, with_pages
from selfsup.data.rendering import Rendering
from selfsup.data.sources import open_source
from selfsup.data.store import Store
from selfsup.testing.sources import check_images, check_listing, check_opened_again

FORMATS = ["tif", "gif", "png", "webp"]


def save_pages(path: Path, *values: int) -> Path:
    """A file of grey pages."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pages = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in values]
    options: dict[str, Any] = {"lossless": True} if path.suffix == ".webp" else {}
    pages[0].save(path, save_all=True, append_images=pages[1:], **options)
    return path


def store_of(folder: Path, pages: str) -> Store:
    return prepare_store(with_pages(open_source(str(folder)), pages), store_size=32, cache_dir=folder.parent / "cache")


def told(store: Store) -> list[str]:
    return [entry.detail for entry in store.audit if entry.problem == "pages"]


@pytest.mark.parametrize("format", FORMATS)
def test_the_first_page_is_used_and_the_others_are_counted(tmp_path: Path, format: str) -> None:
    save_pages(tmp_path / f"d/a.{format}", 10, 90, 200)
    save_pages(tmp_path / f"d/b.{format}", 20, 100)
    save_picture(tmp_path / "d/c.png")
    store = store_of(tmp_path / "d", "first")
    assert [store.image(index).max() for index in range(2)] == [10, 20]
    assert len(store) == 3
    (line,) = told(store)
    assert line.startswith("2 files with 5 in all: the first of each is used; --pages all")


@pytest.mark.parametrize("format", FORMATS)
def test_every_page_can_be_an_image(tmp_path: Path, format: str) -> None:
    save_pages(tmp_path / f"d/x/a.{format}", 10, 90, 200)
    save_picture(tmp_path / "d/y/c.png")
    (tmp_path / "d/y/broken.tif").write_bytes(b"no image")
    source = with_pages(open_source(str(tmp_path / "d")), "all")
    names = [f"x/a.{format}#page=1", f"x/a.{format}#page=2", f"x/a.{format}#page=3", "y/broken.tif", "y/c.png"]
    assert [item.name for item in source.items] == names
    store = store_of(tmp_path / "d", "all")
    assert [int(store.image(index).max()) for index in range(3)] == [10, 90, 200]
    assert np.array_equal(store.image(3), smooth())
    assert store.items.groups == ("x/a." + format,) * 3 + ("y/c.png",)
    assert store.labels.tolist() == [0, 0, 0, 1]
    assert [file_of(name) for name in store.names] == [f"x/a.{format}"] * 3 + ["y/c.png"]
    assert told(store) == ["1 file with 3 in all: each is an image, and those of a file are a group"]
    assert store.path != store_of(tmp_path / "d", "first").path


def test_a_source_of_pages_is_a_source(tmp_path: Path) -> None:
    save_pages(tmp_path / "d/x/a.tif", 10, 90, 200)
    save_picture(tmp_path / "d/y/c.png")
    source = with_pages(open_source(str(tmp_path / "d")), "all")
    check_listing(source)
    check_images(source)
    check_opened_again(source, with_pages(open_source(str(tmp_path / "d")), "all"))


def test_smaller_versions_in_a_tiff_are_no_pages(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(smooth())
        writer.write(smooth()[::2, ::2], subfiletype=1)
        writer.write(smooth(1))
    with Image.open(tmp_path / "a.tif") as image:
        assert page_numbers(image) == [0, 2]


def test_a_preview_in_a_photograph_is_no_page(tmp_path: Path) -> None:
    photo, preview = Image.fromarray(smooth()), Image.fromarray(smooth()[::2, ::2])
    photo.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[preview])
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.n_frames == 2  # type: ignore[attr-defined]
        assert page_numbers(image) == [0]


def test_a_damaged_later_page_does_not_lose_the_first(tmp_path: Path) -> None:
    content = save_pages(tmp_path / "d/a.gif", 10, 90, 200).read_bytes()
    (tmp_path / "d/a.gif").write_bytes(content[: len(content) * 2 // 3])
    assert store_of(tmp_path / "d", "first").image(0).max() == 10


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_pages_may_be_the_channels_of_one_image(tmp_path: Path, dtype: Any) -> None:
    pages = np.random.default_rng(0).integers(0, 256, (5, 9, 7)).astype(dtype)
    for number in range(2):
        tifffile.imwrite(tmp_path / f"{number}.tif", pages + number, photometric="minisblack")
    source, scale = with_pages(open_source(str(tmp_path)), "channels"), Rendering.asked(full_scale=255)
    store = prepare_store(source, store_size=32, rendering=scale, cache_dir=tmp_path / "cache")
    assert store.names == ("0.tif", "1.tif")
    assert np.array_equal(store.image(0), np.moveaxis(pages, 0, 2).astype(np.uint8))


def test_pages_in_colour_are_no_channels_and_the_file_is_set_aside(tmp_path: Path) -> None:
    grey = np.zeros((4, 9, 7), np.uint8)
    for number in range(3):
        tifffile.imwrite(tmp_path / f"{number}.tif", grey + number, photometric="minisblack")
    tifffile.imwrite(tmp_path / "colour.tif", np.zeros((4, 9, 7, 3), np.uint8), photometric="rgb")
    source = with_pages(open_source(str(tmp_path)), "channels")
    store = prepare_store(source, store_size=32, cache_dir=tmp_path / "cache")
    assert store.names == ("0.tif", "1.tif", "2.tif")
    assert [entry.detail for entry in store.audit if entry.path == "colour.tif"] == [
        "its pages are in colour or of several sizes, so they are no channels of one image"
    ]
