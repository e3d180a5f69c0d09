"""WebDataset's shards and other tar archives are read where they lie."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from tests.data.sources.containers.photos import FOLDERS, pixels, png

from selfsup.data.items import Item
from selfsup.data.sources import open_source
from selfsup.errors import UserError


def packed(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def sample(number: int, label: object) -> dict[str, bytes]:
    return {f"{number:06d}.png": png(number), f"{number:06d}.cls": str(label).encode()}


def test_a_shard_has_a_class_beside_each_image(tmp_path: Path) -> None:
    path = packed(tmp_path / "train.tar", {**sample(0, 3), **sample(1, "7\n"), "000002.png": png(2)})
    said: list[str] = []
    source = open_source(str(path), say=said.append)
    assert said == [f"'{path}': 1 tar archive, with the classes in .cls or .json files beside the images."]
    assert list(source.items) == [Item("000000.png", "3"), Item("000001.png", "7"), Item("000002.png", None)]
    with source.open(1) as image:
        assert np.array_equal(np.asarray(image), pixels(1))


def test_the_class_may_stand_in_json(tmp_path: Path) -> None:
    files = {
        "x/0.rgb.png": png(0), "x/0.json": json.dumps({"caption": "a", "label": "cat"}).encode(),
        "x/1.rgb.png": png(1), "x/1.json": json.dumps({"cls": 0}).encode(),
        "x/2.rgb.png": png(2), "x/2.json": b"{broken",
    }  # fmt: skip
    assert [item.label for item in open_source(str(packed(tmp_path / "a.tar", files))).items] == ["cat", "0", None]


def test_shards_of_a_folder_are_one_data_set_and_their_names_a_given_split(tmp_path: Path) -> None:
    packed(tmp_path / "s/train-0000.tar", {**sample(0, 0), **sample(1, 1)})
    packed(tmp_path / "s/train-0001.tar", sample(0, 1))
    packed(tmp_path / "s/val-0000.tar", sample(0, 0))
    assert list(open_source(str(tmp_path / "s")).items) == [
        Item("train-0000.tar/000000.png", "0", "train"),
        Item("train-0000.tar/000001.png", "1", "train"),
        Item("train-0001.tar/000000.png", "1", "train"),
        Item("val-0000.tar/000000.png", "0", "val"),
    ]
    packed(tmp_path / "s/more.tar", sample(0, 0))
    assert {item.split for item in open_source(str(tmp_path / "s")).items} == {None}


def test_without_classes_beside_the_images_folders_are_what_they_are_on_the_disk(tmp_path: Path) -> None:
    source = open_source(str(packed(tmp_path / "photos.tar", {f"./{name}": png for name, png in FOLDERS.items()})))
    assert list(source.items) == [Item(name, name[0]) for name in sorted(FOLDERS)]


def test_links_and_paths_out_of_it_are_never_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(0))
    path = packed(tmp_path / "a.tar", {**FOLDERS, "../out.png": png(0), "/abs.png": png(0)})
    with tarfile.open(path, "a") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            link = tarfile.TarInfo(f"a/link{kind.decode()}.png")
            link.type, link.linkname = kind, "../secret.png"
            archive.addfile(link)
    source = open_source(str(path))
    assert len(source.items) == len(FOLDERS)
    assert sorted(entry.detail for entry in source.ignored) == [
        "2, such as '../out.png', whose path leaves the container",
        "is a link or no regular file",
        "is a link or no regular file",
    ]


@pytest.mark.parametrize("cut", [700, 512 * 3 + 100])
def test_a_shard_that_ends_too_early_is_one_sentence(tmp_path: Path, cut: int) -> None:
    whole = packed(tmp_path / "train.tar", {**sample(0, 0), **sample(1, 1)}).read_bytes()
    (tmp_path / "train.tar").write_bytes(whole[:cut])
    with pytest.raises(UserError, match=r"train\.tar' cannot be read as a tar .* after \d members \(.*copy it anew"):
        open_source(str(tmp_path / "train.tar"))


def test_a_compressed_archive_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"")
    with pytest.raises(UserError, match=r"a\.tar\.gz' is compressed, so images .* one by one; unpack"):
        open_source(str(tmp_path / "a.tar.gz"))


def test_a_folder_of_images_with_an_archive_beside_them_is_a_folder_of_images(tmp_path: Path) -> None:
    packed(tmp_path / "backup.tar", FOLDERS)
    (tmp_path / "photo.png").write_bytes(png(0))
    assert [item.name for item in open_source(str(tmp_path)).items] == ["photo.png"]


def test_the_name_of_an_archive_is_no_class(tmp_path: Path) -> None:
    for number in range(2):
        packed(tmp_path / f"s/part-{number}.tar", FOLDERS)
    assert list(open_source(str(tmp_path / "s")).items) == [
        Item(f"part-{number}.tar/{name}", name[0]) for number in range(2) for name in sorted(FOLDERS)
    ]


@pytest.mark.parametrize("above", ["", "train/"])
def test_folders_are_classes_in_archives_that_are_sides_of_a_split(tmp_path: Path, above: str) -> None:
    packed(tmp_path / "s/train.tar", {f"{above}{name}": png for name, png in FOLDERS.items()})
    packed(tmp_path / "s/test.tar", {f"{above and 'test/'}{name}": png for name, png in FOLDERS.items()})
    items = open_source(str(tmp_path / "s")).items
    expected = sorted((side, name[0]) for side in ("train", "test") for name in FOLDERS)
    assert sorted((str(item.split), str(item.label)) for item in items) == expected


def test_what_a_system_leaves_beside_archives_is_passed_over(tmp_path: Path) -> None:
    packed(tmp_path / "s/part.tar", FOLDERS)
    (tmp_path / "s/._part.tar").write_bytes(b"Mac OS X")
    (tmp_path / "s/@eaDir").mkdir()
    assert len(open_source(str(tmp_path / "s")).items) == len(FOLDERS)
