"""What a study is of: names, classes and pixels, and neither places nor times."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from pictures import labelled_folder, save_picture
from selfsup.data.build import prepare_store
from selfsup.data.contents import changes, contents_csv, read_contents
from selfsup.data.sources import open_source
from selfsup.data.sources.base import Arrays, ArraySource


def contents(data: Path) -> bytes:
    return contents_csv(prepare_store(open_source(str(data)), store_size=64, cache_dir=data.parent / "cache"))


def changes_between(old: bytes, new: bytes) -> str:
    return changes(read_contents(old), read_contents(new))


def test_a_copy_in_another_place_at_another_time_is_the_same(tmp_path: Path) -> None:
    data = labelled_folder(tmp_path / "data")
    copy = shutil.copytree(data, tmp_path / "elsewhere/copy", copy_function=shutil.copyfile)
    for path in copy.rglob("*.png"):
        os.utime(path, (1, 1))
    assert contents(copy) == contents(data)
    assert changes_between(contents(data), contents(copy)) == ""


def test_what_changed_is_counted_with_the_first_of_each(tmp_path: Path) -> None:
    data = labelled_folder(tmp_path / "data", per_class=4)
    before = contents(data)
    (data / "class_0/1.png").unlink()
    (data / "class_1/2.png").write_bytes(b"broken")
    save_picture(data / "class_1/0.png", seed=77)
    save_picture(data / "class_1/new.png", seed=78)
    assert changes_between(before, contents(data)) == (
        "1 added ('class_1/new.png'), 2 missing or unreadable (the first is 'class_0/1.png'), "
        "1 changed ('class_1/0.png')"
    )
    assert changes_between(contents(data), before).startswith("2 added (the first is 'class_0/1.png'), 1 missing")


def test_a_new_label_is_a_change_where_the_name_does_not_hold_it(tmp_path: Path) -> None:
    images = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((4, 4), np.uint8)

    def labelled(labels: str) -> bytes:
        source = ArraySource("toy", lambda: Arrays(images, list(labels)), identity=labels)
        return contents_csv(prepare_store(source, store_size=8, cache_dir=tmp_path))

    assert changes_between(labelled("aaba"), labelled("aabb")) == "1 changed ('toy/3')"


def test_another_order_is_a_change_for_a_study_knows_images_by_their_places() -> None:
    images = {"b.png": ("bean", "1"), "a.png": ("pea", "2")}
    assert changes(images, dict(images)) == ""
    assert changes(images, dict(sorted(images.items()))) == "all are there, in another order (the first was 'b.png')"


@pytest.mark.parametrize(
    "class_name", ["plain", "ends in a return\r", "=SUM(A1)", 'a "quoted", name', "two\r\nlines\n", "naïve 雑草"]
)
def test_contents_survive_their_file(tmp_path: Path, class_name: str) -> None:
    if os.name == "nt" and not class_name.isprintable():
        pytest.skip("Windows refuses such names")
    for label in (class_name, "other"):
        save_picture(tmp_path / "data" / label / "1.png")
    found = contents(tmp_path / "data")
    assert read_contents(found).keys() == {f"{class_name}/1.png", "other/1.png"}
    assert {label for label, _ in read_contents(found).values()} == {class_name, "other"}
