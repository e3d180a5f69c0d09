"""A folder of this machine in which a study at an address is worked on: fetched when it is opened, then only sent.

Between two runs the address is the truth: what lies there replaces what is here, and what is gone
there goes here, except for what a run wrote here and could not upload, which is uploaded by the
next one. To tell the two apart, every file's state on both sides is noted beside the folder when it has been sent
or fetched.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from selfsup.atomic import replace_file
from selfsup.data.addresses import explained, is_address, open_place, shown
from selfsup.data.cache import cache_root
from selfsup.errors import UserError
from selfsup.record.folder import StudyFolder
from selfsup.record.storage.lease import LOCK, Lease

#: Of a running job's files, those that another machine needs to go on.
_CHECKPOINT = re.compile(r"running/[^/]+/checkpoint[^/]*\.pt")


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
        The working folder, in the cache; the same for the same address, whatever the password in it.

    Raises
    ------
    UserError
        If nothing is known of such addresses, or the package for them is missing.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._fs, self._root = open_place(address)
        name = re.sub("[^A-Za-z0-9._-]+", "_", PurePosixPath(self._root).name)[:40].strip(".") or "study"
        place, *query = address.partition("?")  # which an object's name may hold, though it is not shown
        digest = hashlib.blake2b("".join([shown(place), *query]).encode(), digest_size=6).hexdigest()
        self.folder = cache_root() / "studies" / f"{name}-{digest}"
        self._notes = self.folder.with_name(f".{self.folder.name}.json")
        self._noted = self._read_notes()

    def lease(self) -> Lease:
        """The right to write to the address, yet to be acquired."""
        return Lease(self._fs, self._root, self.address, self.folder)

    def has_study(self) -> bool:
        """Whether a study was begun at the address.

        Raises
        ------
        UserError
            If the address cannot be read.
        """
        with explained(self.address, "read"):
            self._fs.invalidate_cache()
            return bool(self._fs.isfile(self._path("config.toml")))

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
            for name in there:  # a cell comes whole: where another one is there, nothing of the one here stays
                if name.endswith("/metrics.json") and self._is_new(name, there[name]):
                    shutil.rmtree((self.folder / name).parent, ignore_errors=True)
            wanted = [name for name, signature in there.items() if self._is_new(name, signature)]
            for name in wanted:
                (self.folder / name).unlink(missing_ok=True)  # it may be one file with another cell's
            if wanted:
                self._fs.get([self._path(name) for name in wanted], [str(self.folder / name) for name in wanted])
            for name in wanted:
                self._noted[name] = (*_state(self.folder / name), there[name])
            for name in set(self._noted) - set(there):
                if not self._has_changed(name):
                    (self.folder / name).unlink()
                    with contextlib.suppress(OSError):  # a cell's folder goes with its last file
                        (self.folder / name).parent.rmdir()
                del self._noted[name]
        self._write_notes()
        return len(wanted)

    def _listing(self) -> dict[str, str]:
        """Every file of the study at the address, and what changes with its content."""
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
                files[name] = _signature(about)
        return files

    def _is_new(self, name: str, signature: str) -> bool:
        """Whether a file is not here, or another one is there than was."""
        noted = self._noted.get(name)
        return noted is None or noted[2] != signature or not (self.folder / name).exists()

    # -- to there --------------------------------------------------------------------------------

    def push(self, only: Iterable[str] | None = None) -> int:
        """Make the address like the folder; the number of files sent. With `only`, just these files.

        Of a cell, ``metrics.json`` goes last, and ``config.toml`` after all else: what can be seen there
        is whole.
        """
        here = set(self._files() if only is None else only)
        changed = sorted((name for name in here if self._has_changed(name)), key=_turn)
        gone = set(self._noted) - here if only is None else set()
        for _, names in itertools.groupby(changed, _turn):
            # Some are replaced or removed meanwhile: noted is what they were before they were read.
            states = {name: _state(self.folder / name) for name in names if (self.folder / name).exists()}
            if states:
                self._fs.put([str(self.folder / name) for name in states], [self._path(name) for name in states])
                there = self._listing()
                self._noted |= {name: (*state, there.get(name, "")) for name, state in states.items()}
                self._write_notes()
        if gone:
            if still_there := [self._path(name) for name in gone & set(self._listing())]:
                self._fs.rm(still_there)
            for name in gone:
                del self._noted[name]
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

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    # -- what both sides had ---------------------------------------------------------------------

    def _has_changed(self, name: str) -> bool:
        """Whether a file here is not what it was when it was sent or fetched."""
        try:
            return name not in self._noted or self._noted[name][:2] != _state(self.folder / name)
        except FileNotFoundError:
            return True

    def _read_notes(self) -> dict[str, tuple[int, int, str]]:
        """Size and time here and signature there, by name; nothing where there is no folder to speak of."""
        if not self.folder.is_dir():
            return {}
        try:
            return {name: tuple(noted) for name, noted in json.loads(self._notes.read_bytes()).items()}
        except (OSError, ValueError):
            return {}

    def _write_notes(self) -> None:
        self._notes.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._notes, json.dumps(self._noted).encode())


def local_folder(place: str | Path) -> Path:
    """The folder of a study: `place` itself, or the working folder of an address, with what is new there fetched.

    A folder that a run of this machine is at work on is left as it is: it is what the address will become. Of an
    address without a study, nothing is fetched.

    Raises
    ------
    UserError
        If the address cannot be read.
    """
    if not is_address(place):
        return Path(place)
    mirror = Mirror(str(place))
    folder = StudyFolder(mirror.folder)
    to_fetch = not folder.is_locked() if folder.exists() else mirror.has_study()
    if to_fetch:
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


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
