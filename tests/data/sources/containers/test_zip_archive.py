"""A zip of images is read where it lies, as the folder that it was made of."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.data.sources.containers.photos import FOLDERS, pixels, png

from selfsup.data.build import prepare_store
from selfsup.data.items import Item
from selfsup.data.sources import open_source
from selfsup.errors import UserError


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_its_folders_are_classes_and_nothing_is_unpacked(tmp_path: Path) -> None:
    path = zipped(tmp_path / "photos.zip", FOLDERS)
    source = open_source(str(path))
    assert source.name == "photos"
    assert list(source.items) == [Item(name, name[0]) for name in sorted(FOLDERS)]
    with source.open(5) as image:
        assert np.array_equal(np.asarray(image), pixels(11))
    assert os.listdir(tmp_path) == ["photos.zip"]


def test_its_folders_may_be_a_given_split(tmp_path: Path) -> None:
    files = {f"{side}/{name}": content for side in ("train", "test") for name, content in FOLDERS.items()}
    source = open_source(str(zipped(tmp_path / "split.zip", files)))
    assert {(item.split, item.label) for item in source.items} == {
        ("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")
    }  # fmt: skip
    assert [entry.problem for entry in source.ignored] == ["given split"]


def test_what_is_no_image_or_leaves_it_is_not_taken_and_told_of(tmp_path: Path) -> None:
    others = {
        "../evil.png": png(0), "/abs.png": png(0), "__MACOSX/a/._0.png": png(0), "notes.txt": b"", "a/masks.npy": b"x"
    }  # fmt: skip
    source = open_source(str(zipped(tmp_path / "a.zip", {**FOLDERS, **others})))
    assert len(source.items) == len(FOLDERS)
    told = {(entry.path, entry.problem): entry.detail for entry in source.ignored}
    assert told[("*.png", "ignored")].endswith("whose path leaves the container")
    assert {("*.txt", "ignored"), ("*.npy", "ignored"), ("*.png", "passed over")} < set(told)
    assert not (tmp_path.parent / "evil.png").exists()


def test_a_damaged_image_in_it_is_set_aside(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {**FOLDERS, "a/broken.png": b"no image", "b/empty.png": b""})
    store = prepare_store(open_source(str(path)), store_size=16, cache_dir=tmp_path / "cache")
    assert len(store) == len(FOLDERS)
    assert {(entry.path, entry.problem) for entry in store.audit} >= {
        ("a/broken.png", "unreadable"), ("b/empty.png", "empty")
    }  # fmt: skip


def test_another_content_is_another_fingerprint_and_a_copy_is_not(tmp_path: Path) -> None:
    first = open_source(str(zipped(tmp_path / "a.zip", FOLDERS))).fingerprint()
    assert open_source(str(zipped(tmp_path / "b.zip", FOLDERS))).fingerprint() == first
    assert open_source(str(zipped(tmp_path / "c.zip", {**FOLDERS, "a/0.png": png(99)}))).fingerprint() != first


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(b"no zip")
    with pytest.raises(UserError, match=r"no\.zip' cannot be read as a zip \(File is not a zip file\); give a sound"):
        open_source(str(tmp_path / "no.zip"))
    with pytest.raises(UserError, match=r"empty\.zip' holds no images \(\*\.txt: 1, such as 'a\.txt'\)"):
        open_source(str(zipped(tmp_path / "empty.zip", {"a.txt": b""})))
    content = bytearray(zipped(tmp_path / "secret.zip", {"a.png": png(0)}).read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1  # as its directory says of an encrypted member
    (tmp_path / "secret.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"secret\.zip' is encrypted"):
        open_source(str(tmp_path / "secret.zip"))
