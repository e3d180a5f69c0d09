"""Files and folders appear whole or not at all, whatever goes wrong meanwhile."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from selfsup.atomic import new_folder, replace_file
from selfsup.errors import UserError


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_file_that_cannot_be_written_is_named_as_it_was_given(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        replace_file(tmp_path / "gone" / "labels.csv", b"x")
    assert str(caught.value).startswith(f"'{tmp_path / 'gone' / 'labels.csv'}' cannot be written")
    assert "partial" not in str(caught.value)


def test_a_new_folder_takes_the_place_of_the_old_one_whole(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "old").write_text("old")
    with new_folder(place) as aside:
        (aside / "in").mkdir()
        (aside / "in" / "new").write_text("new")
        assert content(place) == {"old": "old"}
    assert content(place) == {"in/new": "new"}
    assert list(tmp_path.iterdir()) == [place]


def test_what_fails_while_a_folder_is_filled_leaves_the_old_one_and_nothing_beside_it(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "old").write_text("old")
    with pytest.raises(KeyError), new_folder(place) as aside:
        (aside / "new").write_text("new")
        raise KeyError
    assert content(tmp_path) == {"place/old": "old"}
    assert list(tmp_path.iterdir()) == [place]


def test_every_file_is_on_the_disk_before_its_folder_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: set[int] = set()
    fsync, rename = os.fsync, os.rename
    inodes: set[int] = set()

    def noted(handle: int) -> None:
        flushed.add(os.fstat(handle).st_ino)
        fsync(handle)

    def renamed(source: Path, target: Path) -> None:
        inodes.update(path.stat().st_ino for path in (source, *Path(source).rglob("*")))
        assert inodes <= flushed
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "rename", renamed)
    with new_folder(tmp_path / "place") as aside:
        (aside / "in").mkdir()
        for name in ("a", "in/b"):
            (aside / name).write_text(name)
    assert len(inodes) == 4
    assert tmp_path.stat().st_ino in flushed


def test_a_full_disk_is_a_sentence_with_the_remedy_that_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(UserError, match=r"place' cannot be written \(No space left on device\); buy a disk\."),
        new_folder(tmp_path / "place", remedy="buy a disk") as aside,
    ):
        (aside / "a").touch()
    assert not list(tmp_path.iterdir())
