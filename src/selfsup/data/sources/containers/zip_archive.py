"""A zip of images, read in place: folders in it are what folders on the disk are."""

from __future__ import annotations

import zipfile
from pathlib import Path

from selfsup.data.audit import printable
from selfsup.data.sources.base import Source, SourceOptions
from selfsup.data.sources.containers._listed_files import ListedFile, ListedSource
from selfsup.errors import UserError


class ZipArchive:
    """A file whose name ends in ``.zip``."""

    def takes(self, data: str) -> bool:
        return data.lower().endswith(".zip") and Path(data).expanduser().is_file()

    def open_source(self, data: str, options: SourceOptions) -> Source:
        try:
            opened = zipfile.ZipFile(Path(data).expanduser())
        except (zipfile.BadZipFile, OSError) as error:
            raise UserError(f"'{printable(data)}' cannot be read as a zip ({error}); give a sound one.") from None
        members = [member for member in opened.infolist() if not member.is_dir()]
        if any(member.flag_bits & 1 for member in members):
            raise UserError(f"'{printable(data)}' is encrypted; give a zip without a password, or unpack it.")
        files = [ListedFile(member.filename, f"{member.file_size} {member.CRC}") for member in members]
        return ListedSource(data, files, opened.read, options)


container = ZipArchive()
