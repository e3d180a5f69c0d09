"""A folder of images as a source: which files are images, what their classes are, what is said of the rest."""

from __future__ import annotations

import os
import shutil
import sys
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures import labelled_folder, save_picture, smooth
from selfsup.data.audit import AuditEntry
from selfsup.data.sources import _file_source
from selfsup.data.sources._image_folder import FolderSource
from selfsup.data.sources._passed_over import OWN
from selfsup.errors import UserError


def problems(source: FolderSource) -> dict[str, str]:
    return {entry.path: entry.problem for entry in source.ignored}


def test_top_level_folders_are_the_classes_at_any_depth_and_in_any_case_of_extension(tmp_path: Path) -> None:
    for name in ("b/x.PNG", "a/deep/er/y.JpG", "a/z.tif", "a/w.webp", "b/v.bmp", "b/u.gif", "a/t.ppm", "a/s.TIFF"):
        save_picture(tmp_path / name)
    source = FolderSource(tmp_path)
    assert [item.name for item in source.items] == [
        "a/deep/er/y.JpG", "a/s.TIFF", "a/t.ppm", "a/w.webp", "a/z.tif", "b/u.gif", "b/v.bmp", "b/x.PNG",
    ]  # fmt: skip
    assert [item.label for item in source.items] == ["a"] * 5 + ["b"] * 3
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
    assert {item.label for item in source.items} == {None}
    assert sorted(item.name for item in source.items) == sorted(files)


def test_unlabelled_can_be_forced_and_then_stray_images_count(tmp_path: Path) -> None:
    labelled_folder(tmp_path)
    save_picture(tmp_path / "stray.png")
    assert "stray.png" not in [item.name for item in FolderSource(tmp_path).items]
    forced = FolderSource(tmp_path, unlabelled=True)
    assert {item.label for item in forced.items} == {None}
    assert "stray.png" in [item.name for item in forced.items]
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
    source = FolderSource(tmp_path)
    assert problems(source) == {"class_2/": "empty class", "class_3/": "empty class", "*.txt": "ignored"}
    assert {item.label for item in source.items} == {"class_0", "class_1"}
    assert problems(FolderSource(tmp_path, unlabelled=True)) == {"*.txt": "ignored"}


def test_the_empty_folder_that_leaves_one_class_alone_is_told_of(tmp_path: Path) -> None:
    save_picture(tmp_path / "cat/1.png")
    (tmp_path / "dog").mkdir()
    source = FolderSource(tmp_path)
    assert {item.label for item in source.items} == {None}
    assert problems(source) == {"dog/": "empty class"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows refuses such names")
def test_class_names_may_hold_anything(tmp_path: Path) -> None:
    names = ["'quoted' \"twice\"", "<b>bold", "a b", "naïve 雑草", "line\nbreak", "$(rm), ;"]
    for name in names:
        save_picture(tmp_path / name / "1.png")
    assert sorted({item.label for item in FolderSource(tmp_path).items}) == sorted(names)


@pytest.mark.parametrize(
    "left",
    [
        "class_0/@eaDir/0.png/small.png", "__MACOSX/class_0/0.png", "$RECYCLE.BIN/1.png", "lost+found/1.png",
        ".thumbnails/1.png", "class_0/.thumbnails/1.png", "System Volume Information/1.png", "class_1/#recycle/1.png",
    ],
)  # fmt: skip
def test_what_systems_leave_among_images_is_passed_over_and_that_is_said(tmp_path: Path, left: str) -> None:
    before = [item.name for item in FolderSource(labelled_folder(tmp_path)).items]
    save_picture(tmp_path / left)
    source = FolderSource(tmp_path)
    assert [item.name for item in source.items] == before
    (entry,) = source.ignored
    assert entry.problem == "passed over"
    assert entry.path.removesuffix("/") in left.split("/")


def test_folders_and_hidden_images_that_are_passed_over_are_counted_by_their_names(tmp_path: Path) -> None:
    labelled_folder(tmp_path)
    for number in range(3):
        save_picture(tmp_path / f"class_{number % 2}/@eaDir/{number}.png/small.png")
        save_picture(tmp_path / f"class_0/._{number}.png")
    (tmp_path / ".DS_Store").touch()
    assert {(entry.path, entry.count) for entry in FolderSource(tmp_path).ignored} == {("@eaDir/", 2), (".*.png", 3)}


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in OWN}))
@pytest.mark.parametrize("place", ["mine", "studies/mine", "class_0/mine"])
def test_what_selfsup_has_written_is_never_images_wherever_it_lies(tmp_path: Path, kind: str, place: str) -> None:
    before = [item.name for item in FolderSource(labelled_folder(tmp_path)).items]
    for name in next(marks for known, marks in OWN if known == kind):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / name).touch()
    save_picture(tmp_path / place / "picture.png")
    source = FolderSource(tmp_path)
    assert [item.name for item in source.items] == before
    assert source.ignored == [
        AuditEntry(f"{place}/", "passed over", f"{kind}, whose pictures are none of the data"),
    ]


@pytest.mark.parametrize(("kind", "marks"), OWN)
def test_a_folder_that_selfsup_has_written_is_refused_as_data(tmp_path: Path, kind: str, marks: set[str]) -> None:
    labelled_folder(tmp_path)
    for name in marks:
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=f"is {kind} that selfsup has written.*; give the folder of the images"):
        FolderSource(tmp_path)


def test_other_files_are_counted_by_extension(tmp_path: Path) -> None:
    labelled_folder(tmp_path)
    for number in range(3):
        (tmp_path / f"class_0/{number}.txt").write_text("x")
    (tmp_path / "README").write_text("x")
    entries = {entry.path: entry for entry in FolderSource(tmp_path).ignored}
    assert set(entries) == {"*.txt", "* (no extension)"}
    assert entries["*.txt"].problem == "ignored"
    assert entries["*.txt"].detail == "3, such as 'class_0/0.txt'"
    assert entries["*.txt"].count == 3


def test_links_to_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    data = labelled_folder(tmp_path / "data")
    save_picture(tmp_path / "elsewhere/1.png", seed=7)
    (data / "linked").symlink_to(tmp_path / "elsewhere")
    (data / "class_0/up").symlink_to(data)
    (data / "class_0/self").symlink_to(data / "class_0/self")
    source = FolderSource(data)
    assert "linked/1.png" in [item.name for item in source.items]
    assert {item.label for item in source.items} == {"class_0", "class_1", "linked"}
    assert sum(name.endswith("class_1/0.png") for name in [item.name for item in source.items]) == 1
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
    (index,) = (place for place, name in enumerate(item.name for item in source.items) if "caf" in name)
    assert source.items[index].name.encode("utf-8") == b"class_0/caf\\udce9.png"
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


def test_folders_of_a_split_give_classes_and_sides(tmp_path: Path) -> None:
    for path in ("train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/dog/1.png", "unlabelled/1.png"):
        save_picture(tmp_path / path)
    source = FolderSource(tmp_path)
    assert [(item.label, item.split) for item in source.items] == [
        ("cat", "test"), ("dog", "test"), ("cat", "train"), ("dog", "train"), (None, None),
    ]  # fmt: skip
    assert problems(source) == {"*": "given split"}
    classes = FolderSource(tmp_path, no_given_split=True)
    assert [(item.label, item.split) for item in classes.items[:4]] == [("test", None)] * 2 + [("train", None)] * 2
    assert (
        len({source.fingerprint(), classes.fingerprint(), FolderSource(tmp_path, unlabelled=True).fingerprint()}) == 3
    )


@pytest.mark.parametrize("modified", [0, 10**18])
def test_other_images_of_the_same_names_sizes_and_times_are_others(tmp_path: Path, modified: int) -> None:
    prints = []
    for version in range(2):
        for number in range(6):  # of one size, for nothing is compressed
            path = save_picture(
                tmp_path / f"v{version}/photos/class_{number % 2}/{number}.bmp", seed=10 * version + number
            )
            os.utime(path, ns=(modified, modified))
        prints.append(FolderSource(tmp_path / f"v{version}/photos").fingerprint())
    assert len(set(prints)) == 2
    copy = shutil.copytree(tmp_path / "v0/photos", tmp_path / "copy/photos")
    assert FolderSource(copy).fingerprint() == prints[0]
    last = copy / "class_1/5.bmp"  # one image among many
    last.write_bytes(last.read_bytes()[:-1] + b"?")
    os.utime(last, ns=(modified, modified))
    assert FolderSource(copy).fingerprint() != prints[0]


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell of a file's last change")
def test_files_of_one_time_are_read_whole_once_until_one_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELFSUP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_file_source, "SETTLED", 0)
    data = labelled_folder(tmp_path / "data")
    for path in data.rglob("*.png"):
        os.utime(path, ns=(1, 10**18))
    before = FolderSource(data).fingerprint()
    with monkeypatch.context() as patch:
        patch.delattr(_file_source.FileSource, "_content")  # that reads
        assert FolderSource(data.rename(tmp_path / "moved")).fingerprint() == before
    time.sleep(0.05)  # for the clock of the file system to go on
    last = tmp_path / "moved/class_1/2.png"
    last.write_bytes(last.read_bytes()[:-1] + b"?")
    os.utime(last, ns=(1, 10**18))
    assert FolderSource(tmp_path / "moved").fingerprint() != before


def test_images_that_kept_the_times_of_those_they_were_made_from_are_others(tmp_path: Path) -> None:
    for number in range(6):
        original = save_picture(tmp_path / f"a/photos/class_{number % 2}/{number}.bmp", seed=number)
        made = save_picture(tmp_path / f"b/photos/class_{number % 2}/{number}.bmp", seed=10 + number)
        os.utime(original, ns=(number, 10**18 + number))
        shutil.copystat(original, made)
    assert FolderSource(tmp_path / "a/photos").fingerprint() != FolderSource(tmp_path / "b/photos").fingerprint()


def test_names_are_the_same_in_every_form_of_their_accents(tmp_path: Path) -> None:
    found = []
    for form in ("NFC", "NFD"):
        for name in ("é/ü.png", "é/z.png", "f/1.png", "fè/1.png"):
            save_picture(tmp_path / form / unicodedata.normalize(form, name))
        found.append(FolderSource(tmp_path / form))
    assert [item.name for item in found[0].items] == [item.name for item in found[1].items]
    assert [item.label for item in found[0].items] == [item.label for item in found[1].items]
    assert all(unicodedata.is_normalized("NFC", name) for name in [item.name for item in found[0].items])
    assert found[1].open(0).size == (32, 24)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take these for one name")
def test_two_images_whose_names_differ_in_form_alone_keep_names_of_their_own(tmp_path: Path) -> None:
    labelled_folder(tmp_path)
    for form in ("NFC", "NFD"):
        save_picture(tmp_path / unicodedata.normalize(form, "class_0/ü.png"))
    source = FolderSource(tmp_path)
    assert len({item.name for item in source.items}) == 8
    assert len({item.label for item in source.items}) == 2


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
    with pytest.raises(UserError, match=r"holds no images \(\*\.txt: 1, .*notes\.txt"):
        FolderSource(tmp_path)


def test_a_folder_reads_the_same_where_the_system_is_asked_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Windows has it; others are asked by open folders, none of which is left open."""
    for name in ("a/deep/er/1.png", "a/2.png", "b/3.png", "b/.hidden/4.png", "b/@eaDir/5.png"):
        save_picture(tmp_path / name)
    (tmp_path / "b/notes.txt").touch()
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir())) if descriptors.is_dir() else 0
    opened = FolderSource(tmp_path)
    assert before == (len(list(descriptors.iterdir())) if descriptors.is_dir() else 0)
    monkeypatch.setattr(os, "supports_fd", frozenset())
    by_path = FolderSource(tmp_path)
    assert [item.name for item in opened.items] == ["a/2.png", "a/deep/er/1.png", "b/3.png"]
    assert opened.items[:] == by_path.items[:]
    assert opened.ignored == by_path.ignored
    assert opened.fingerprint() == by_path.fingerprint()
