"""Unpacks a zip that nobody vouches for: nothing leaves the folder, and all of it appears or nothing.

The standard library would mend a hostile path and go on; here every member is looked at before the first is written.
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

from selfsup.atomic import new_folder, writing_to
from selfsup.data.audit import printable
from selfsup.data.cache import REMEDY
from selfsup.errors import UserError


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
    try:
        with zipfile.ZipFile(archive) as opened, new_folder(folder, remedy=REMEDY) as aside:
            members = opened.infolist()
            for member in members:
                _refuse_hostile(member, archive)
            _refuse_full_disk(aside, sum(member.file_size for member in members))
            with writing_to(folder, REMEDY):
                for member in members:
                    _extract(opened, member, aside)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise BadArchiveError(
            f"'{printable(str(archive))}' cannot be unpacked: {error or 'it is damaged'}; "
            "give a sound zip file with --data-url."
        ) from None


def _refuse_hostile(member: zipfile.ZipInfo, archive: Path) -> None:
    name = member.filename = member.filename.replace("\\", "/")
    kind = stat.S_IFMT(member.external_attr >> 16)
    leaves = name.startswith("/") or ".." in PurePosixPath(name).parts or re.match("[A-Za-z]:", name)
    if leaves or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        reason = "would leave the folder" if leaves else "is a link or a device"
        raise BadArchiveError(
            f"'{printable(str(archive))}' holds '{printable(name)}', which {reason}; nothing was unpacked. "
            "Give an archive from a source that you trust with --data-url."
        )


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    path = opened.extract(member, folder)
    year, month, *rest = member.date_time
    modified = calendar.timegm((year, min(max(month, 1), 12), *rest, 0, 0, 0))  # without a clock, month is 0
    if not member.is_dir():
        os.utime(path, (modified, modified))


def _refuse_full_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"Unpacking needs {needed / 1e9:.1f} GB and '{folder.parent}' has {free / 1e9:.1f} GB free; {REMEDY}."
        )
