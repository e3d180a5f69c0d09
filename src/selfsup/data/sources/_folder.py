"""A folder of images: one folder per class, at any depth, in any of the usual formats."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class _File:
    path: str
    parts: tuple[str, ...]
    size: int
    modified: int

    @property
    def name(self) -> str:
        return "/".join(self.parts)


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
        scan = _Scan(root)
        if not scan.images:
            raise UserError(_nothing_found(root, scan))
        classes = sorted({file.parts[0] for file in scan.images if len(file.parts) > 1})
        labelled = len(classes) > 1 and not unlabelled
        self._files = [file for file in scan.images if len(file.parts) > 1 or not labelled]
        stray = [file for file in scan.images if len(file.parts) == 1 and labelled]
        self.names: Sequence[str] = [printable(file.name) for file in self._files]
        self.labels: Sequence[str] | None = None
        self.ignored = scan.ignored() + [
            AuditEntry(printable(file.name), "no class", "lies beside the class folders, not in one") for file in stray
        ]
        if not unlabelled:
            self.ignored += _empty_classes(scan)
        if labelled:
            self.labels = [printable(file.parts[0]) for file in self._files]
            self.ignored += _warn_of_split(classes)

    def fingerprint(self) -> str:
        facts = (f"{file.name}\0{file.size}\0{file.modified}" for file in self._files)
        return digest_of("folder", str(self.labels is None), *facts)

    def open(self, index: int) -> Image.Image:
        file = self._files[index]
        if file.size == 0:
            raise EmptyFileError("the file holds no bytes")
        return Image.open(file.path, formats=readable_formats())


class _Scan:
    """One walk through the folder: images in order of their names, all else counted by kind."""

    def __init__(self, root: Path) -> None:
        self.images: list[_File] = []
        self.folders: list[str] = []  # directly below the root, and readable
        self._others: Counter[str] = Counter()
        self._example: dict[str, str] = {}
        self._problems: list[AuditEntry] = []
        for file in self._walk(root):
            suffix = os.path.splitext(file.parts[-1])[1].lower()
            if suffix in IMAGE_SUFFIXES:
                self.images.append(file)
            else:
                kind = f"*{suffix}" if suffix else "* (no extension)"
                self._others[kind] += 1
                self._example.setdefault(kind, file.name)
        self.images.sort(key=lambda file: file.parts)

    def _walk(self, root: Path) -> Iterator[_File]:
        """All regular files below `root`; folders are remembered per class, so a loop of links ends."""
        waiting: list[tuple[str, tuple[str, ...], set[tuple[int, int]]]] = [(str(root), (), set())]
        while waiting:
            folder, parts, seen = waiting.pop()
            for entry in self._entries(folder, parts, seen):
                below = (*parts, entry.name)
                try:
                    status = entry.stat()
                except OSError as error:
                    self._note(below, "unreadable", str(error.strerror))
                    continue
                if stat.S_ISDIR(status.st_mode):
                    waiting.append((entry.path, below, seen if parts else set(seen)))
                elif stat.S_ISREG(status.st_mode):
                    yield _File(entry.path, below, status.st_size, status.st_mtime_ns)
                else:  # reading a pipe or a device may never end
                    self._note(below, "ignored", "is not a regular file")

    def _entries(self, folder: str, parts: tuple[str, ...], seen: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
        """What is visible in a folder, by name; nothing if the folder was seen before."""
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                return []
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                visible = sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name)
        except OSError as error:
            self._note(parts or (".",), "unreadable", f"folder: {error.strerror}")
            return []
        if len(parts) == 1:
            self.folders.append(parts[0])
        return visible

    def _note(self, parts: tuple[str, ...], problem: Problem, detail: str) -> None:
        self._problems.append(AuditEntry(printable("/".join(parts)), problem, detail))

    def ignored(self) -> list[AuditEntry]:
        return self._problems + [
            AuditEntry(
                printable(kind),
                "ignored",
                f"{count} not taken for images, such as '{printable(self._example[kind])}'",
            )
            for kind, count in sorted(self._others.items())
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
    filled = {file.parts[0] for file in scan.images}
    return [
        AuditEntry(f"{printable(name)}/", "empty class", "the folder holds no image, so it is no class of the data set")
        for name in sorted(scan.folders)
        if name not in filled
    ]


def _warn_of_split(classes: Sequence[str]) -> list[AuditEntry]:
    if not all(name.lower() in _SPLIT_NAMES for name in classes):
        return []
    folders = ", ".join(classes)
    detail = f"the folders {folders} were taken for classes; for their sub-folders, give one of them as data"
    return [AuditEntry("*", "looks like a split", detail)]
