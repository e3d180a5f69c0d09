"""A folder of images: one folder per class, at any depth, in any of the usual formats."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from selfsup.data.audit import AuditEntry, Problem, printable
from selfsup.data.image_files import ARRAY_SUFFIXES, IMAGE_SUFFIXES, require_readers, suffix_of
from selfsup.data.items import Item
from selfsup.data.sources._file_source import FileSource
from selfsup.data.sources._folder_layout import Layout, Place, read_layout
from selfsup.data.sources._passed_over import is_left_by_a_system, own_kind
from selfsup.errors import UserError


class FolderSource(FileSource):
    """The images under a folder, whose folders say what is known of them, see :func:`read_layout`.

    Links to folders are followed. Hidden files and folders, what systems leave, and what selfsup itself has written
    are passed over.

    Parameters
    ----------
    root : Path
        The folder.
    name : str, optional
        Name of the data set; the folder's own by default.
    unlabelled : bool
        Treat all images as unlabelled.
    no_given_split : bool
        Take folders that are called as the sides of a split are for classes.

    Raises
    ------
    UserError
        If the folder cannot be read or holds no image, or its folders are sides of a split and others.
    """

    def __init__(
        self, root: Path, *, name: str | None = None, unlabelled: bool = False, no_given_split: bool = False
    ) -> None:
        self.name = printable(name or root.resolve().name or "images")
        scan = _Scan(root)
        if not scan.images:
            raise UserError(_nothing_found(root, scan))
        require_readers(scan.images)
        names = [printable(path) for path in scan.images]
        layout = (
            Layout((Place(),) * len(names))
            if unlabelled
            else read_layout(names, printable(str(root)), no_given_split=no_given_split)
        )
        found = list(zip(scan.images, layout.places, strict=True))
        paths = [path for path, place in found if place is not None]
        names = [printable(path) for path in paths]
        if len(set(names)) < len(names):  # two that differ in their form alone
            names = [f"{path!a}"[1:-1] for path in paths]
        places = [place for place in layout.places if place is not None]
        items = [Item(name, place.label, place.split) for name, place in zip(names, places, strict=True)]
        super().__init__(root, paths, items, scan.facts)
        strays = [printable(path) for path, place in found if place is None]
        self.ignored = [
            *scan.ignored(),
            *(AuditEntry(path, "no class", "lies in no class folder") for path in strays),
            *([] if unlabelled else _empty_classes(scan)),
            *layout.remarks,
        ]


class _Scan:
    """One walk through the folder: images by their names, all else counted by kind.

    Attributes
    ----------
    images : list of str
        Paths below the root, with ``/`` between folders, folder by folder.
    facts : dict of str to (int, int)
        Of every image, its size in bytes and its modification time in nanoseconds.
    folders : set of str
        Those directly below the root that can be read, without those that hold what selfsup has written.
    filled : set of str
        Those of them that hold images.
    """

    def __init__(self, root: Path) -> None:
        self.facts: dict[str, tuple[int, int]] = {}
        self.folders: set[str] = set()
        self._left: dict[str, list[str]] = {}
        self._others: dict[str, list[str]] = {}
        self._problems: list[AuditEntry] = []
        self._arrays: dict[str, tuple[int, int]] = {}
        self._walk(root)
        if not self.facts:
            self.facts = self._arrays
        for path in self._arrays.keys() - self.facts.keys():
            self._count_other(path)
        self.images = sorted(self.facts, key=lambda path: printable(path).replace("/", "\0"))
        self.filled = {printable(path.partition("/")[0]) for path in self.images if "/" in path}

    def _walk(self, root: Path) -> None:
        """Take in all regular files below `root`; folders are remembered per class, so a loop of links ends."""
        waiting: list[tuple[str, str, set[tuple[int, int]]]] = [(str(root), "", set())]
        while waiting:
            folder, below, seen = waiting.pop()
            folders: list[tuple[str, str]] = []
            for entry in self._entries(folder, below, seen):
                path = below + entry.name
                try:
                    status = entry.stat()
                except OSError as error:
                    self._note(path, "unreadable", str(error.strerror))
                    continue
                if stat.S_ISREG(status.st_mode):
                    self._take(path, (status.st_size, status.st_mtime_ns))
                elif stat.S_ISDIR(status.st_mode):
                    folders.append((entry.path, f"{path}/"))
                else:  # reading a pipe or a device may never end
                    self._note(path, "ignored", "is not a regular file")
            waiting += [(*each, seen if below else set(seen)) for each in sorted(folders)]

    def _entries(self, folder: str, below: str, seen: set[tuple[int, int]]) -> Iterator[os.DirEntry[str]]:
        """What may hold images in a folder, in its own order, which is quickest; nothing if it was seen before."""
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                return
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as scanned:
                entries = list(scanned)
            kind = own_kind({entry.name for entry in entries}) if below else None
            top = printable(below.partition("/")[0])
            if kind:
                self._note(below, "passed over", f"{kind}, whose pictures are none of the data")
                self.folders.discard(top)
                return
            if below.count("/") == 1:
                self.folders.add(top)
            for entry in entries:
                if is_left_by_a_system(entry.name):
                    self._leave(entry, below)
                else:
                    yield entry
        except OSError as error:
            self._note(below.removesuffix("/") or ".", "unreadable", f"folder: {error.strerror}")

    def _leave(self, entry: os.DirEntry[str], below: str) -> None:
        """Count what is passed over: folders by name, files by extension, if they would be images."""
        suffix = suffix_of(entry.name)
        if entry.is_dir():
            self._left.setdefault(f"{entry.name}/", []).append(below + entry.name)
        elif suffix in IMAGE_SUFFIXES:
            self._left.setdefault(f".*{suffix}", []).append(below + entry.name)

    def _take(self, path: str, facts: tuple[int, int]) -> None:
        suffix = suffix_of(path)
        if suffix in IMAGE_SUFFIXES:
            self.facts[path] = facts
        elif suffix in ARRAY_SUFFIXES:
            self._arrays[path] = facts
        else:
            self._count_other(path)

    def _count_other(self, path: str) -> None:
        suffix = suffix_of(path)
        self._others.setdefault(f"*{suffix}" if suffix else "* (no extension)", []).append(path)

    def _note(self, name: str, problem: Problem, detail: str) -> None:
        self._problems.append(AuditEntry(printable(name), problem, detail))

    def ignored(self) -> list[AuditEntry]:
        single = sorted(self._problems, key=lambda entry: entry.path)
        return single + by_kind("passed over", self._left) + by_kind("ignored", self._others)


def by_kind(problem: Problem, found: Mapping[str, Sequence[str]]) -> list[AuditEntry]:
    return [
        AuditEntry(printable(kind), problem, f"{len(paths)}, such as '{printable(min(paths))}'", len(paths))
        for kind, paths in sorted(found.items())
    ]


def _nothing_found(root: Path, scan: _Scan) -> str:
    where = printable(str(root))
    ignored = scan.ignored()
    if not ignored:
        return f"The folder '{where}' is empty; give one that holds images."
    seen = "; ".join(f"{entry.path}: {entry.detail}" for entry in ignored[:5])
    return f"The folder '{where}' holds no images ({seen}); give one that holds PNG, JPEG, TIFF, … files."


def _empty_classes(scan: _Scan) -> list[AuditEntry]:
    """Folders where a class was to be expected, and no image is: an unpacking that broke off, perhaps."""
    return [
        AuditEntry(f"{name}/", "empty class", "the folder holds no image, so it is no class of the data set")
        for name in sorted(scan.folders)
        if name not in scan.filled
    ]
