"""A folder of this machine and a study at an address, kept alike.

Between two runs the address is the truth: what lies there replaces what is here, and what is gone
there goes here, except for what a run wrote here and could not upload, which is uploaded by the
next one. What each side had when they last were alike is noted beside the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from selfsup.atomic import replace_file, writing_to
from selfsup.data.cache import REMEDY, cache_root
from selfsup.errors import UserError
from selfsup.record.folder import StudyFolder
from selfsup.record.storage.address import explained, is_address, open_place, shown
from selfsup.record.storage.lease import LOCK, Lease

#: Files up to this size, in bytes, are sent together, up to as many bytes at once; larger ones are streamed.
TOGETHER = 32_000_000
#: Of a running job's files, those that another machine needs to go on.
_CHECKPOINT = re.compile(r"running/[^/]+/checkpoint[^/]*\.pt")


class _Alike(NamedTuple):
    """A file when both sides were alike: its size and modification time here, and its signature there."""

    size: int
    modified: int
    there: str


class Mirror:
    """A study at an address and its working folder.

    Parameters
    ----------
    address : str
        Any that fsspec opens.

    Attributes
    ----------
    address : str
    folder : Path
        The working folder, in the cache; the same for the same address.

    Raises
    ------
    UserError
        If nothing is known of such addresses, or the package for them is missing.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._fs, self._root = open_place(address)
        name = re.sub("[^A-Za-z0-9._-]+", "_", PurePosixPath(self._root).name)[:40].strip(".") or "study"
        digest = hashlib.blake2b(shown(address).encode(), digest_size=6).hexdigest()
        self.folder = cache_root() / "studies" / f"{name}-{digest}"
        self._notes = self.folder.with_name(f".{self.folder.name}.json")
        self._alike = self._read_notes()

    def lease(self) -> Lease:
        """The right to write to the address, yet to be acquired."""
        return Lease(self._fs, self._root, self.address, self.folder)

    # -- from there ------------------------------------------------------------------------------

    def pull(self) -> int:
        """Make the folder like the address; the number of files fetched.

        Raises
        ------
        UserError
            If the address cannot be read, or holds names that lead out of the study.
        """
        with explained(self.address, "read"):
            there = self._listing()
            wanted = [name for name, signature in there.items() if self._differs(name, signature)]
            self._clear_cells(wanted)
            for batch in _batches(wanted, [there[name].size for name in wanted]):
                self._fetch(batch, there)
            for name in set(self._alike) - set(there):
                self._forget(name)
        self._write_notes()
        return len(wanted)

    def _listing(self) -> dict[str, _There]:
        """Every file of the study at the address."""
        self._fs.invalidate_cache()
        try:
            found = self._fs.find(self._root, detail=True)
        except FileNotFoundError:
            return {}
        files = {}
        for path, about in found.items():
            name = str(path)[len(self._root) :].lstrip("/")
            parts = PurePosixPath(name).parts
            if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name or ":" in name:
                raise UserError(
                    f"'{shown(self.address)}' holds '{path}', which is no name for a file of a study; remove it there."
                )
            if name != LOCK and about.get("type", "file") == "file":
                files[name] = _There(int(about.get("size") or 0), _signature(about))
        return files

    def _differs(self, name: str, there: _There) -> bool:
        """Whether a file is to be fetched: it is not here, or another one is there than was when they were alike."""
        known = self._alike.get(name)
        return known is None or known.there != there.signature or not (self.folder / name).exists()

    def _clear_cells(self, wanted: Iterable[str]) -> None:
        """Cells come whole: where another one is there, nothing of the one here stays."""
        for name in wanted:
            parts = PurePosixPath(name).parts
            if len(parts) == 3 and parts[0] == "cells" and parts[2] == "metrics.json":
                shutil.rmtree(self.folder / "cells" / parts[1], ignore_errors=True)

    def _fetch(self, names: list[str], there: dict[str, _There]) -> None:
        with writing_to(self.folder, REMEDY):
            for name in names:
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        partial = [f"{self.folder / name}.partial" for name in names]
        self._fs.get([f"{self._root}/{name}" for name in names], partial)
        for name, path in zip(names, partial, strict=True):
            os.replace(path, self.folder / name)
            self._note(name, there[name].signature)

    def _forget(self, name: str) -> None:
        """Remove what is gone there, unless it has changed here since."""
        if self._is_alike(name):
            (self.folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # a cell's folder goes with its last file
                (self.folder / name).parent.rmdir()
        self._alike.pop(name, None)

    # -- to there --------------------------------------------------------------------------------

    def push(self, only: Iterable[str] | None = None) -> int:
        """Make the address like the folder; the number of files sent. With `only`, just these files.

        Of a cell, ``metrics.json`` goes last, and ``config.toml`` after all else: what can be seen there
        is whole.
        """
        here = dict.fromkeys(only) if only is not None else dict.fromkeys(self._files())
        changed = sorted((name for name in here if not self._is_alike(name)), key=lambda name: (_turn(name), name))
        sizes = [_size(self.folder / name) for name in changed]
        for batch in _batches(changed, sizes, kind=_turn):
            self._send(batch)
        gone = [] if only is not None else [name for name in self._alike if name not in here]
        if gone:
            present = self._listing()
            if still_there := [f"{self._root}/{name}" for name in gone if name in present]:
                self._fs.rm(still_there)
            for name in gone:
                del self._alike[name]
        if changed or gone:
            there = self._listing()
            for name in changed:
                if name in there and name in self._alike:
                    self._alike[name] = self._alike[name]._replace(there=there[name].signature)
            self._write_notes()
        return len(changed)

    def _files(self) -> Iterator[str]:
        """Files that belong at the address, as paths below the folder."""
        for folder, below, names in os.walk(self.folder):
            place = Path(folder).relative_to(self.folder)
            if place == Path("running"):
                below[:] = [name for name in below if name not in ("aside", "submitted")]
            for file in names:
                name = (place / file).as_posix()
                if name.startswith("running/") and not _CHECKPOINT.fullmatch(name):
                    continue
                if name not in (".lock", LOCK) and not name.endswith(".partial"):
                    yield name

    def _send(self, names: list[str]) -> None:
        content = {}
        for name in names:
            path = self.folder / name
            with contextlib.suppress(FileNotFoundError):  # it was replaced or removed meanwhile
                alike = _stat(path, "")
                if len(names) == 1 and alike.size > TOGETHER:
                    self._fs.put_file(str(path), f"{self._root}/{name}")
                else:
                    content[f"{self._root}/{name}"] = path.read_bytes()
                self._alike[name] = alike
        if content:
            try:
                self._fs.pipe(content)
            except BaseException:
                for name in names:
                    self._alike.pop(name, None)
                raise

    # -- what both sides had ---------------------------------------------------------------------

    def _is_alike(self, name: str) -> bool:
        """Whether a file here is as it was when both sides were alike."""
        known = self._alike.get(name)
        try:
            return known is not None and known[:2] == _stat(self.folder / name, "")[:2]
        except FileNotFoundError:
            return False

    def _note(self, name: str, signature: str) -> None:
        self._alike[name] = _stat(self.folder / name, signature)

    def _read_notes(self) -> dict[str, _Alike]:
        if not self.folder.is_dir():
            return {}
        try:
            notes = json.loads(self._notes.read_text(encoding="utf-8"))
            return {name: _Alike(*alike) for name, alike in notes.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _write_notes(self) -> None:
        with writing_to(self._notes.parent, REMEDY):
            self._notes.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._notes, json.dumps(self._alike).encode())


class _There(NamedTuple):
    """A file at the address."""

    size: int
    signature: str


def local_folder(place: str | Path) -> Path:
    """The folder of a study: `place` itself, or the working folder of an address, with what is new there fetched.

    A folder that a run of this machine is at work on is left as it is: it is what the address will become.

    Raises
    ------
    UserError
        If the address cannot be read.
    """
    if not is_address(place):
        return Path(place)
    mirror = Mirror(str(place))
    folder = StudyFolder(mirror.folder)
    if folder.exists() and folder.is_locked():
        return mirror.folder
    mirror.pull()
    return mirror.folder


def _signature(about: dict[str, Any]) -> str:
    """What changes with a file's content, of what a file system tells."""
    for name in ("ETag", "etag", "md5Hash", "checksum"):
        if about.get(name):
            return str(about[name])
    times = (about.get(name) for name in ("mtime", "LastModified", "updated", "created"))
    return f"{about.get('size')}-{next((time for time in times if time), '')}"


def _turn(name: str) -> int:
    """When a file is sent: checkpoints, cells, what says that they are whole, the rest, the configuration."""
    if name.startswith("running/"):
        return 0
    if name.startswith("cells/"):
        return 2 if name.endswith("/metrics.json") else 1
    return 4 if name == "config.toml" else 3


def _batches(names: list[str], sizes: list[int], kind: Any = lambda name: 0) -> Iterator[list[str]]:
    """Names in order, some together: of one kind, and of a bounded size; a large file by itself."""
    batch, bytes_in_it = list[str](), 0
    for name, size in zip(names, sizes, strict=True):
        if batch and (bytes_in_it + size > TOGETHER or kind(name) != kind(batch[-1]) or len(batch) == 200):
            yield batch
            batch, bytes_in_it = [], 0
        batch.append(name)
        bytes_in_it += size
    if batch:
        yield batch


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _stat(path: Path, signature: str) -> _Alike:
    found = path.stat()
    return _Alike(found.st_size, found.st_mtime_ns, signature)
