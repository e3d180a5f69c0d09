"""A folder of images as a source: which files are images, what their classes are, what is said of the rest."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures import labelled_folder, save_picture, smooth
from selfsup.data.audit import AuditEntry
from selfsup.data.sources._image_folder import FolderSource
from selfsup.errors import UserError


def problems(source: FolderSource) -> dict[str, str]:
    return {entry.path: entry.problem for entry in source.ignored}


def test_top_level_folders_are_the_classes_at_any_depth_and_in_any_case_of_extension(tmp_path: Path) -> None:
    for name in ("b/x.PNG", "a/deep/er/y.JpG", "a/z.tif", "a/w.webp", "b/v.bmp", "b/u.gif", "a/t.ppm", "a/s.TIFF"):
        save_picture(tmp_path / name)
    source = FolderSource(tmp_path)
    assert list(source.names) == [
        "a/deep/er/y.JpG", "a/s.TIFF", "a/t.ppm", "a/w.webp", "a/z.tif", "b/u.gif", "b/v.bmp", "b/x.PNG",
    ]  # fmt: skip
    assert list(source.labels or ()) == ["a"] * 5 + ["b"] * 3
    assert all(source.open(index).size == (32, 24) for index in range(8))
    assert not source.ignored


def test_jpeg_2000_is_read_where_pillow_can_write_it(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "x.jp2", irreversible=False)
    assert np.array_equal(np.asarray(FolderSource(tmp_path).open(0)), smooth())


@pytest.mark.parametrize("files", [["only/1.png", "only/2.png"], ["1.png", "2.png"], ["only/1.png", "2.png"]])
def test_one_folder_or_images_in_the_root_alone_are_unlabelled(tmp_path: Path, files: list[str]) -> None:
    for file in files:
        save_picture(tmp_path / file)
    source = FolderSource(tmp_path)
    assert source.labels is None
    assert sorted(source.names) == sorted(files)


def test_unlabelled_can_be_forced_and_then_stray_images_count(tmp_path: Path) -> None:
    labelled_folder(tmp_path)
    save_picture(tmp_path / "stray.png")
    assert "stray.png" not in FolderSource(tmp_path).names
    forced = FolderSource(tmp_path, unlabelled=True)
    assert forced.labels is None
    assert "stray.png" in forced.names
    assert forced.fingerprint() != FolderSource(tmp_path).fingerprint()


def test_an_image_beside_the_class_folders_is_set_aside_as_no_class(tmp_path: Path) -> None:
    labelled_folder(tmp_path)
    save_picture(tmp_path / "stray.png")
    assert problems(FolderSource(tmp_path)) == {"stray.png": "no class"}


def test_a_class_folder_without_an_image_is_told_of(tmp_path: Path) -> None:
    labelled_folder(tmp_path)
    (tmp_path / "class_2/deep/er").mkdir(parents=True)
    (tmp_path / "class_3").mkdir()
    (tmp_path / "class_3/notes.txt").write_text("x")
    (tmp_path / ".hidden").mkdir()
    source = FolderSource(tmp_path)
    assert problems(source) == {"class_2/": "empty class", "class_3/": "empty class", "*.txt": "ignored"}
    assert set(source.labels or ()) == {"class_0", "class_1"}
    assert problems(FolderSource(tmp_path, unlabelled=True)) == {"*.txt": "ignored"}


def test_the_empty_folder_that_leaves_one_class_alone_is_told_of(tmp_path: Path) -> None:
    save_picture(tmp_path / "cat/1.png")
    (tmp_path / "dog").mkdir()
    source = FolderSource(tmp_path)
    assert source.labels is None
    assert problems(source) == {"dog/": "empty class"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows refuses such names")
def test_class_names_may_hold_anything(tmp_path: Path) -> None:
    names = ["'quoted' \"twice\"", "<b>bold", "a b", "naïve 雑草", "line\nbreak", "$(rm), ;"]
    for name in names:
        save_picture(tmp_path / name / "1.png")
    assert sorted(set(FolderSource(tmp_path).labels or ())) == sorted(names)


def test_hidden_files_and_folders_are_skipped_without_a_word(tmp_path: Path) -> None:
    labelled_folder(tmp_path)
    save_picture(tmp_path / ".thumbnails/1.png")
    save_picture(tmp_path / "class_0/.hidden.png")
    source = FolderSource(tmp_path)
    assert len(source.names) == 6
    assert not source.ignored


def test_other_files_are_counted_by_extension(tmp_path: Path) -> None:
    labelled_folder(tmp_path)
    for number in range(3):
        (tmp_path / f"class_0/{number}.txt").write_text("x")
    (tmp_path / "README").write_text("x")
    entries = {entry.path: entry for entry in FolderSource(tmp_path).ignored}
    assert set(entries) == {"*.txt", "* (no extension)"}
    assert entries["*.txt"].problem == "ignored"
    assert "3 " in entries["*.txt"].detail
    assert "class_0/" in entries["*.txt"].detail


def test_links_to_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    data = labelled_folder(tmp_path / "data")
    save_picture(tmp_path / "elsewhere/1.png", seed=7)
    (data / "linked").symlink_to(tmp_path / "elsewhere")
    (data / "class_0/up").symlink_to(data)
    (data / "class_0/self").symlink_to(data / "class_0/self")
    source = FolderSource(data)
    assert "linked/1.png" in source.names
    assert set(source.labels or ()) == {"class_0", "class_1", "linked"}
    assert sum(name.endswith("class_1/0.png") for name in source.names) == 1
    assert problems(source) == {"class_0/self": "unreadable"}


def test_a_pipe_named_like_an_image_is_never_opened(tmp_path: Path) -> None:
    labelled_folder(tmp_path)
    os.mkfifo(tmp_path / "class_0/pipe.png")
    assert problems(FolderSource(tmp_path)) == {"class_0/pipe.png": "ignored"}


def test_a_dangling_link_is_reported(tmp_path: Path) -> None:
    labelled_folder(tmp_path)
    (tmp_path / "class_0/gone.png").symlink_to(tmp_path / "nowhere.png")
    assert problems(FolderSource(tmp_path)) == {"class_0/gone.png": "unreadable"}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_no_utf8_becomes_valid_text_and_still_opens(tmp_path: Path) -> None:
    labelled_folder(tmp_path)
    raw = os.fsencode(tmp_path / "class_0") + b"/caf\xe9.png"
    save_picture(Path(os.fsdecode(raw)), seed=5)
    source = FolderSource(tmp_path)
    (index,) = (place for place, name in enumerate(source.names) if "caf" in name)
    assert source.names[index].encode("utf-8") == b"class_0/caf\\udce9.png"
    assert np.array_equal(np.asarray(source.open(index)), smooth(5))
    assert source.fingerprint()


def test_the_fingerprint_follows_content_and_not_place(tmp_path: Path) -> None:
    first = labelled_folder(tmp_path / "a/data")
    before = FolderSource(first).fingerprint()
    moved = first.rename(tmp_path / "data")
    assert FolderSource(moved).fingerprint() == before
    image = moved / "class_0/0.png"
    os.utime(image, ns=(1, 1))
    touched = FolderSource(moved).fingerprint()
    assert touched != before
    status = image.stat()
    image.write_bytes(image.read_bytes() + b"x")
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    resized = FolderSource(moved).fingerprint()
    assert resized not in (before, touched)
    image.rename(moved / "class_1/00.png")
    assert FolderSource(moved).fingerprint() not in (before, touched, resized)


def test_class_folders_that_look_like_a_split_are_remarked_upon(tmp_path: Path) -> None:
    for name in ("train/cat/1.png", "Test/cat/1.png"):
        save_picture(tmp_path / name)
    (entry,) = FolderSource(tmp_path).ignored
    assert entry == AuditEntry("*", "looks like a split", entry.detail)
    assert "Test, train" in entry.detail


def test_a_file_is_read_as_what_it_is_and_never_by_a_reader_that_starts_programs(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "really.bmp")
    (tmp_path / "really.bmp").rename(tmp_path / "1.png")
    Image.fromarray(smooth()).save(tmp_path / "2.eps")
    (tmp_path / "2.eps").rename(tmp_path / "2.png")
    source = FolderSource(tmp_path)
    assert source.open(0).format == "BMP"
    with pytest.raises(Image.UnidentifiedImageError):
        source.open(1)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is empty; give one that holds images"):
        FolderSource(tmp_path)


def test_a_folder_without_images_is_refused_and_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"holds no images \(\*\.txt: 1 .*notes\.txt"):
        FolderSource(tmp_path)
