"""A folder of images: one folder per class, at any depth, in any of the usual formats."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfsup.data.audit import AuditEntry, Problem, printable
from selfsup.data.formats.image_files import ARRAY_SUFFIXES, IMAGE_SUFFIXES, require_readers, suffix_of
from selfsup.data.items import ItemTable
from selfsup.data.sources._file_source import FileSource, facts_of
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
    besides : str, optional
        Name of a file in the folder that is not to be counted among those that are no images.

    Raises
    ------
    UserError
        If the folder cannot be read, holds no image or is what selfsup has written, or its folders are sides of a
        split and others.
    """

    def __init__(
        self,
        root: Path,
        *,
        name: str | None = None,
        unlabelled: bool = False,
        no_given_split: bool = False,
        besides: str | None = None,
    ) -> None:
        self.name = printable(name or root.resolve().name or "images")
        scan = _Scan(root)
        files = scan.images
        if not files.paths:
            raise UserError(_nothing_found(root, scan))
        require_readers(files.paths)
        names = list(map(printable, files.paths))
        layout = (
            Layout((Place(),) * len(names))
            if unlabelled
            else read_layout(names, printable(str(root)), no_given_split=no_given_split)
        )
        strays = [name for name, place in zip(names, layout.places, strict=True) if place is None]
        if strays:
            files = files.take([index for index, place in enumerate(layout.places) if place is not None])
            names = list(map(printable, files.paths))
        if names != files.paths and len(set(names)) < len(names):  # two that differ in their form alone
            names = [f"{path!a}"[1:-1] for path in files.paths]
        places = [place for place in layout.places if place is not None]
        table = ItemTable.of_columns(names, [place.label for place in places], [place.split for place in places])
        super().__init__(root, files.paths, table, files.facts)
        self.ignored = [
            *scan.ignored(besides),
            *(AuditEntry(path, "no class", "lies in no class folder") for path in strays),
            *([] if unlabelled else _empty_classes(scan)),
            *layout.remarks,
        ]


@dataclass(frozen=True)
class _Files:
    """Files below the root: their paths, and :func:`facts_of` each."""

    paths: Sequence[str]
    facts: np.ndarray

    @classmethod
    def in_order(cls, paths: Sequence[str], facts: array[int]) -> _Files:
        """Folder by folder."""
        keys = [printable(path).replace("/", "\0") for path in paths]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        return cls(paths, np.array(facts).reshape(-1, 3)).take(order)

    def take(self, indices: Sequence[int]) -> _Files:
        """Those at `indices`, in that order."""
        return _Files(list(map(self.paths.__getitem__, indices)), self.facts[indices])


class _Scan:
    """One walk through the folder: images by their names, all else counted by kind.

    Attributes
    ----------
    images : _Files
        Folder by folder.
    folders : set of str
        Those directly below the root that can be read, without those that hold what selfsup has written.
    filled : set of str
        Those of them that hold images.
    """

    def __init__(self, root: Path) -> None:
        self.folders: set[str] = set()
        self._left: dict[str, list[str]] = {}
        self._others: dict[str, list[str]] = {}
        self._problems: list[AuditEntry] = []
        self._pictures, self._arrays = (list[str](), array("q")), (list[str](), array("q"))
        self._walk(root)
        pictures, arrays = self._pictures[0], self._arrays[0]
        self.images = _Files.in_order(*(self._pictures if pictures else self._arrays))
        for path in arrays if pictures else ():
            self._count_other(path)
        self.filled = set(map(printable, {path.partition("/")[0] for path in self.images.paths if "/" in path}))

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
                    self._take(path, status)
                elif stat.S_ISDIR(status.st_mode):
                    folders.append((os.path.join(folder, entry.name), f"{path}/"))
                else:  # reading a pipe or a device may never end
                    self._note(path, "ignored", "is not a regular file")
            waiting += [(*each, seen if below else set(seen)) for each in sorted(folders)]

    def _entries(self, folder: str, below: str, seen: set[tuple[int, int]]) -> Iterator[os.DirEntry[str]]:
        """What may hold images in a folder, in its own order, which is quickest; nothing if it was seen before."""
        try:
            with _opened(folder) as opened:
                status = os.stat(opened)
                if (status.st_dev, status.st_ino) in seen:
                    return
                seen.add((status.st_dev, status.st_ino))
                with os.scandir(opened) as scanned:
                    entries = list(scanned)[::-1]
                kind = own_kind({entry.name for entry in entries})
                top = printable(below.partition("/")[0])
                if kind and not below:
                    raise UserError(
                        f"'{printable(folder)}' is {kind} that selfsup has written, whose pictures are none of the "
                        f"data; give the folder of the images, or move what is selfsup's out of it."
                    )
                if kind:
                    self._note(below, "passed over", f"{kind}, whose pictures are none of the data")
                    self.folders.discard(top)
                    return
                if below.count("/") == 1:
                    self.folders.add(top)
                while entries:
                    entry = entries.pop()  # an entry keeps what is asked of it, half a kilobyte
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

    def _take(self, path: str, status: os.stat_result) -> None:
        suffix = suffix_of(path)
        if suffix not in IMAGE_SUFFIXES and suffix not in ARRAY_SUFFIXES:
            self._count_other(path)
            return
        paths, facts = self._pictures if suffix in IMAGE_SUFFIXES else self._arrays
        paths.append(path)
        facts.extend(facts_of(status))

    def _count_other(self, path: str) -> None:
        suffix = suffix_of(path)
        self._others.setdefault(f"*{suffix}" if suffix else "* (no extension)", []).append(path)

    def _note(self, name: str, problem: Problem, detail: str) -> None:
        self._problems.append(AuditEntry(printable(name), problem, detail))

    def ignored(self, besides: str | None = None) -> list[AuditEntry]:
        single = sorted(self._problems, key=lambda entry: entry.path)
        others = {kind: [path for path in paths if path != besides] for kind, paths in self._others.items()}
        return single + by_kind("passed over", self._left) + by_kind("ignored", others)


@contextmanager
def _opened(folder: str) -> Iterator[int | str]:
    """A folder, opened where the system can be asked by that: it finds a file there in 0.8 of the time by its path."""
    if os.scandir not in os.supports_fd:
        yield folder
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        yield opened
    finally:
        os.close(opened)


def by_kind(problem: Problem, found: Mapping[str, Sequence[str]]) -> list[AuditEntry]:
    return [
        AuditEntry(printable(kind), problem, f"{len(paths)}, such as '{printable(min(paths))}'", len(paths))
        for kind, paths in sorted(found.items())
        if paths
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
