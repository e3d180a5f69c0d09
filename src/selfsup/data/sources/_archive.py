"""Unpacks a zip that nobody vouches for: nothing leaves the folder, and all of it appears or nothing.

Every member is looked at before the first is written. Each is checked against its CRC while it is
written, aside; the folder gets its name last.
"""

from __future__ import annotations

import calendar
import os
import re
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from selfsup.data.audit import printable
from selfsup.data.cache import writing_to
from selfsup.errors import UserError

_CHUNK = 1 << 20


class BadArchiveError(UserError):
    """The archive itself is at fault: damaged, encrypted or hostile."""


def unpack_zip(archive: Path, folder: Path) -> None:
    """Unpack `archive` into the new folder `folder`; one process at a time.

    Files get the time that the archive gives them, so that a copy of the same archive has the
    same fingerprint on every machine.

    Raises
    ------
    BadArchiveError
        If the archive is damaged or encrypted, or holds a link or a path that leaves the folder.
    UserError
        If the disk has no room for it.
    """
    aside = folder.with_name(f".{folder.name}.aside")
    with writing_to(folder.parent):
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
    try:
        _unpack(archive, aside)
        with writing_to(folder.parent):
            os.replace(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _unpack(archive: Path, aside: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            targets = [_safe_path(member, archive) for member in members]
            _refuse_full_disk(aside, sum(member.file_size for member in members))
            for member, target in zip(members, targets, strict=True):
                with writing_to(aside.parent):
                    _write(opened, member, aside / target)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise BadArchiveError(
            f"'{printable(str(archive))}' cannot be unpacked: {error or 'it is damaged'}; "
            "give a sound zip file with --data-url."
        ) from None


def _safe_path(member: zipfile.ZipInfo, archive: Path) -> PurePosixPath:
    """The member's path inside the folder; refuses whatever could end up elsewhere."""
    name = member.orig_filename.replace("\\", "/")
    path = PurePosixPath(name)
    kind = stat.S_IFMT(member.external_attr >> 16)
    leaves = path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name) or "\0" in name or not path.name
    if leaves or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        reason = "would leave the folder" if leaves else "is a link or a device"
        raise BadArchiveError(
            f"'{printable(str(archive))}' holds '{printable(name)}', which {reason}; nothing was unpacked. "
            "Give an archive from a source that you trust with --data-url."
        )
    return path


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(member) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, _CHUNK)
    modified = _seconds(member.date_time)
    os.utime(target, (modified, modified))


def _seconds(date_time: tuple[int, ...]) -> int:
    try:
        return calendar.timegm((*date_time, 0, 0, 0))
    except ValueError:  # archivers without a clock write month 0
        return 0


def _refuse_full_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"Unpacking needs {needed / 1e9:.1f} GB and '{folder.parent}' has {free / 1e9:.1f} GB free; "
            "make room, or set the environment variable SELFSUP_CACHE to a folder on a larger disk."
        )
