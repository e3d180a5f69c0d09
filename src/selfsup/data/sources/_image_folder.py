"""A folder of images: one folder per class, at any depth, in any of the usual formats."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from selfsup.data.audit import AuditEntry, Problem, printable
from selfsup.data.sources.base import EmptyFileError, digest_of
from selfsup.errors import UserError

# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".ico", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc",
    ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pcx", ".pfm", ".pgm", ".png",
    ".pnm", ".ppm", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp",
})
# Not every format that Pillow reads: some of its readers start other programs (EPS runs
# Ghostscript), and a file's content, not its name, decides which reader it gets.
_FORMATS = (
    "JPEG", "PNG", "TIFF", "WEBP", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF", "ICO", "PCX",
    "QOI", "SGI", "TGA",
)
# fmt: on
_SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})


@lru_cache(maxsize=1)
def readable_formats() -> tuple[str, ...]:
    """Formats that this installation of Pillow reads, of those that are safe and hold photographs."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


class FolderSource:
    """The images under a folder; the top-level folder that an image lies in is its class.

    Two or more top-level folders with images make a labelled data set. With only one, or with
    images directly in the root alone, it is unlabelled. Hidden files and folders are skipped, and
    links to folders are followed.

    Parameters
    ----------
    root : Path
        The folder.
    name : str, optional
        Name of the data set; the folder's own by default.
    unlabelled : bool
        Treat all images as unlabelled.

    Raises
    ------
    UserError
        If the folder cannot be read or holds no image.
    """

    official_test: np.ndarray | None = None

    def __init__(self, root: Path, *, name: str | None = None, unlabelled: bool = False) -> None:
        self.name = printable(name or root.resolve().name or "images")
        self._root = root
        scan = _Scan(root)
        if not scan.images:
            raise UserError(_nothing_found(root, scan))
        classes = sorted(scan.filled)
        labelled = len(classes) > 1 and not unlabelled
        strays = [path for path, top in zip(scan.images, scan.tops, strict=True) if top is None] if labelled else []
        self._paths = [
            path for path, top in zip(scan.images, scan.tops, strict=True) if top is not None or not labelled
        ]
        self._facts = scan.facts
        self.names: Sequence[str] = [printable(path) for path in self._paths]
        self.labels: Sequence[str] | None = None
        self.ignored = scan.ignored() + [
            AuditEntry(printable(path), "no class", "lies beside the class folders, not in one") for path in strays
        ]
        if not unlabelled:
            self.ignored += _empty_classes(scan)
        if labelled:
            self.labels = [printable(top) for top in scan.tops if top is not None]
            self.ignored += _warn_of_split(classes)

    def fingerprint(self) -> str:
        facts = (f"{path}\0{size}\0{modified}" for path in self._paths for size, modified in (self._facts[path],))
        return digest_of("folder", str(self.labels is None), *facts)

    def open(self, index: int) -> Image.Image:
        path = self._paths[index]
        if self._facts[path][0] == 0:
            raise EmptyFileError("the file holds no bytes")
        return Image.open(self._root / path, formats=readable_formats())


def _top(path: str) -> str | None:
    """The top-level folder that a file is in, None directly in the root."""
    folder, slash, _ = path.partition("/")
    return folder if slash else None


class _Scan:
    """One walk through the folder: images by their names, all else counted by kind.

    Attributes
    ----------
    images : list of str
        Paths below the root, with ``/`` between folders, folder by folder.
    tops : list of str or None
        Of every image, the top-level folder that it is in, None directly in the root.
    facts : dict of str to (int, int)
        Of every image, its size in bytes and its modification time in nanoseconds.
    folders : list of str
        Those directly below the root that can be read.
    filled : set of str
        Those of them that hold images.
    """

    def __init__(self, root: Path) -> None:
        self.facts: dict[str, tuple[int, int]] = {}
        self.folders: list[str] = []
        self._others: dict[str, list[str]] = {}
        self._problems: list[AuditEntry] = []
        self._walk(root)
        self.images = sorted(self.facts, key=lambda path: path.replace("/", "\0"))
        self.tops = [_top(path) for path in self.images]
        self.filled = {top for top in self.tops if top is not None}

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
        """What is visible in a folder, in its own order, which is quickest; nothing if it was seen before."""
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                return
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                if below.count("/") == 1:
                    self.folders.append(below.removesuffix("/"))
                yield from (entry for entry in entries if not entry.name.startswith("."))
        except OSError as error:
            self._note(below.removesuffix("/") or ".", "unreadable", f"folder: {error.strerror}")

    def _take(self, path: str, facts: tuple[int, int]) -> None:
        suffix = os.path.splitext(path)[1].lower()
        if suffix in IMAGE_SUFFIXES:
            self.facts[path] = facts
        else:
            self._others.setdefault(f"*{suffix}" if suffix else "* (no extension)", []).append(path)

    def _note(self, name: str, problem: Problem, detail: str) -> None:
        self._problems.append(AuditEntry(printable(name), problem, detail))

    def ignored(self) -> list[AuditEntry]:
        return sorted(self._problems, key=lambda entry: entry.path) + [
            AuditEntry(
                printable(kind),
                "ignored",
                f"{len(paths)} file{'s' * (len(paths) != 1)}, such as '{printable(min(paths))}'",
                len(paths),
            )
            for kind, paths in sorted(self._others.items())
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
        AuditEntry(f"{printable(name)}/", "empty class", "the folder holds no image, so it is no class of the data set")
        for name in sorted(scan.folders)
        if name not in scan.filled
    ]


def _warn_of_split(classes: Sequence[str]) -> list[AuditEntry]:
    if not all(name.lower() in _SPLIT_NAMES for name in classes):
        return []
    folders = ", ".join(classes)
    detail = f"the folders {folders} were taken for classes; for their sub-folders, give one of them as data"
    return [AuditEntry("*", "looks like a split", detail)]
