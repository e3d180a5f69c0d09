"""Tar archives of images, read in place: WebDataset's shards, or folders that were put into one.

In a shard, files whose names differ behind the first dot alone are one sample: ``000123.jpg`` is its image and
``000123.cls`` or the key ``label``, ``cls`` or ``class`` in ``000123.json`` its class. Where no sample says so, folders
are what they are on the disk; names of archives are no folders. Shards that are all called as sides of a split are
(``train-0001.tar``) are that side.
"""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from selfsup.data.audit import AuditEntry, printable
from selfsup.data.formats.image_files import IMAGE_SUFFIXES, suffix_of
from selfsup.data.sources._folder_layout import side_of
from selfsup.data.sources._passed_over import is_left_by_a_system
from selfsup.data.sources.base import Source, SourceOptions
from selfsup.data.sources.containers._listed_files import ListedFile, ListedSource, split_by_name
from selfsup.errors import UserError

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
#: Keys of a sample's JSON that hold its class, and the most bytes that are read for one.
LABEL_KEYS, LABEL_BYTES = ("label", "cls", "class"), 1 << 20


class TarShards:
    """A file whose name ends in ``.tar``, or a folder of such files and no images."""

    def takes(self, data: str) -> bool:
        path = Path(data).expanduser()
        return bool(_shards(path)) or (data.lower().endswith(COMPRESSED) and path.is_file())

    def open_source(self, data: str, options: SourceOptions) -> Source:
        if data.lower().endswith(COMPRESSED):
            raise UserError(f"'{printable(data)}' is compressed, so images in it cannot be read one by one; unpack it.")
        shards = list(map(_read_shard, _shards(Path(data).expanduser())))
        sides = [side_of(shard.path.stem) for shard in shards]
        given = split_by_name(sides, options)
        places: dict[str, tuple[Path, int, int]] = {}
        files, ignored = list[ListedFile](), list(given)
        for shard, side in zip(shards, sides, strict=True):
            above = f"{shard.path.name}/" if len(shards) > 1 else ""
            ignored += [replace(entry, path=f"{above}{entry.path}") for entry in shard.ignored]
            for name, (offset, size) in shard.places.items():
                places[above + name] = shard.path, offset, size
                stamp = f"{offset} {size} {shard.stamp}"
                files.append(ListedFile(above + name, stamp, shard.label(name), side if given else None, above))
        labels = (
            "with the classes in .cls or .json files beside the images"
            if any(file.label for file in files)
            else ("in which folders are what they are on the disk")
        )
        options.say(f"'{printable(data)}': {len(shards)} tar archive{'s' * (len(shards) > 1)}, {labels}.")
        return ListedSource(data, files, lambda path: _read(*places[path]), options, ignored)


@dataclass
class _Shard:
    """Where the files of an archive are, and what they say of their samples' classes."""

    path: Path
    stamp: str
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    ignored: list[AuditEntry] = field(default_factory=list)

    def label(self, name: str) -> str | None:
        return self.labels.get(_sample(name))


def _shards(path: Path) -> Sequence[Path]:
    """The archives that a path is or holds; none, where it holds anything that may be an image."""
    if path.is_file():
        return [path] if path.suffix.lower() == ".tar" else []
    shards = []
    with contextlib.suppress(OSError), os.scandir(path) as entries:
        for entry in entries:
            if is_left_by_a_system(entry.name):
                continue
            if entry.is_dir() or suffix_of(entry.name) in IMAGE_SUFFIXES:
                return []
            if suffix_of(entry.name) == ".tar":
                shards.append(Path(entry.path))
    return sorted(shards)


def _read_shard(path: Path) -> _Shard:
    """Headers of all members of an archive, and the content of those that are classes.

    Raises
    ------
    UserError
        If it is damaged, or ends too early.
    """
    status = path.stat()
    shard = _Shard(path, f"{status.st_size} {status.st_mtime_ns}")
    count = 0
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                count += 1
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    shard.ignored.append(AuditEntry(printable(member.name), "ignored", "is a link or no regular file"))
                    continue
                if member.offset_data + member.size > status.st_size:
                    raise tarfile.ReadError(f"'{member.name}' goes beyond its end")
                name = member.name.removeprefix("./")
                _take(shard, name, member, archive)
    except (tarfile.TarError, OSError, ValueError) as error:
        raise UserError(
            f"'{printable(str(path))}' cannot be read as a tar archive after {count} members ({error}); copy it anew, "
            "or leave it out."
        ) from None
    return shard


def _take(shard: _Shard, name: str, member: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
    kind = suffix_of(name)
    if kind not in (".cls", ".json") or member.size > LABEL_BYTES:
        shard.places[name] = member.offset_data, member.size
        return
    content = archive.extractfile(member)
    text = content.read().decode(errors="replace").strip() if content else ""
    label = text if kind == ".cls" else _label_in(text)
    if label:
        shard.labels.setdefault(_sample(name), printable(label))


def _label_in(text: str) -> str | None:
    """The class in a sample's JSON."""
    try:
        values = json.loads(text)
    except ValueError:
        return None
    found = values if isinstance(values, dict) else {}
    return next((str(found[key]) for key in LABEL_KEYS if isinstance(found.get(key), str | int)), None)


def _sample(name: str) -> str:
    """A file's name up to the first dot behind its folders."""
    folders, slash, last = name.rpartition("/")
    return f"{folders}{slash}{last.partition('.')[0]}"


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


container = TarShards()
