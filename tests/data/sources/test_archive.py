"""Unpacking: nothing leaves the folder, all of it appears or nothing."""

from __future__ import annotations

import shutil
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from selfsup.data.sources._archive import BadArchiveError, unpack_zip
from selfsup.errors import UserError


def zip_of(path: Path, members: dict[str, bytes], *, mode: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo("x", (2017, 5, 6, 7, 8, 10))
            info.filename = info.orig_filename = name
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return path


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def test_members_come_out_with_content_and_time(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {"a/1.png": b"one", "b c/ü.png": b"two", "empty/": b""})
    unpack_zip(archive, tmp_path / "out")
    assert files_below(tmp_path / "out") == {"a/1.png", "b c/ü.png"}
    assert (tmp_path / "out/b c/ü.png").read_bytes() == b"two"
    assert (tmp_path / "out/empty").is_dir()
    assert (tmp_path / "out/a/1.png").stat().st_mtime == 1494054490  # 2017-05-06 07:08:10 UTC


def test_a_time_that_is_none_is_the_same_everywhere(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {"1.png": b"one"})
    raw = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 12), (b"PK\x01\x02", 14)):
        struct.pack_into("<H", raw, raw.find(signature) + offset, 0)  # month 0, day 0
    archive.write_bytes(raw)
    unpack_zip(archive, tmp_path / "out")
    assert (tmp_path / "out/1.png").stat().st_mtime < 1e9  # no hour of ours


def test_backslashes_part_folders_as_slashes_do(tmp_path: Path) -> None:
    unpack_zip(zip_of(tmp_path / "a.zip", {"a\\1.png": b"one"}), tmp_path / "out")
    assert (tmp_path / "out/a/1.png").read_bytes() == b"one"


@pytest.mark.parametrize(
    "name",
    ["../out.png", "a/../../out.png", "/tmp/selfsup-out.png", "\\out.png", "..\\out.png", "C:/out.png", "c:out.png",
     "a\\..\\..\\out.png", "a/..", "..", "//host/share/x.png"],
)  # fmt: skip
def test_a_path_that_leaves_the_folder_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    archive = zip_of(tmp_path / "in/a.zip", {"good.png": b"1", name: b"2"})
    with pytest.raises(BadArchiveError, match=r"would leave the folder; nothing was unpacked\. .*--data-url"):
        unpack_zip(archive, tmp_path / "in/deep/out")
    assert files_below(tmp_path) == {"in/a.zip"}
    assert not (tmp_path / "in/deep/out").exists()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    archive = zip_of(tmp_path / "a.zip", {"link": b"/etc"}, mode=kind | 0o777)
    with pytest.raises(BadArchiveError, match="is a link or a device"):
        unpack_zip(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_member_with_a_wrong_checksum_leaves_nothing(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("1.png", b"fine")
        opened.writestr("2.png", b"content that is spoilt")
    archive.write_bytes(archive.read_bytes().replace(b"spoilt", b"SPOILT"))
    with pytest.raises(BadArchiveError, match=r"cannot be unpacked: Bad CRC-32 for file '2\.png'"):
        unpack_zip(archive, tmp_path / "out")
    assert files_below(tmp_path) == {"a.zip"}


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("<html>Not found</html>")
    with pytest.raises(BadArchiveError, match="File is not a zip file; give a sound zip file with --data-url"):
        unpack_zip(tmp_path / "a.zip", tmp_path / "out")


def test_a_truncated_zip_is_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {"1.png": bytes(1000)})
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(BadArchiveError):
        unpack_zip(archive, tmp_path / "out")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {"1.png": b"secret"})
    raw = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.find(signature) + offset] |= 1  # the flag that says: encrypted
    archive.write_bytes(raw)
    with pytest.raises(BadArchiveError, match="encrypted"):
        unpack_zip(archive, tmp_path / "out")


def test_an_archive_larger_than_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zip_of(tmp_path / "a.zip", {"1.png": bytes(10_000_000)})
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"Unpacking needs 0\.0 GB .* SELFSUP_CACHE"):
        unpack_zip(archive, tmp_path / "out")
    assert files_below(tmp_path) == {"a.zip"}


def test_the_rest_of_an_attempt_that_was_killed_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".out.aside").mkdir()
    (tmp_path / ".out.aside/old.png").touch()
    unpack_zip(zip_of(tmp_path / "a.zip", {"1.png": b"1"}), tmp_path / "out")
    assert files_below(tmp_path) == {"a.zip", "out/1.png"}
