"""Images in files that a container lists: their names say what is known of them, as those in a folder do."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image

from selfsup.data.audit import AuditEntry, printable
from selfsup.data.formats.image_files import ARRAY_SUFFIXES, IMAGE_SUFFIXES, open_image, require_readers, suffix_of
from selfsup.data.items import Item, Side
from selfsup.data.sources._folder_layout import read_layout
from selfsup.data.sources._image_folder import by_kind
from selfsup.data.sources._passed_over import is_left_by_a_system
from selfsup.data.sources.base import EmptyFileError, SourceOptions, digest_of
from selfsup.errors import UserError


@dataclass(frozen=True)
class ListedFile:
    """A file in a container.

    Attributes
    ----------
    path : str
        As the container has it, with ``/`` between folders.
    stamp : str
        Changes when the content does: size and time, a checksum.
    label : str or None
        Its class, where the container itself says it.
    split : str or None
        Likewise, the side of the split that it is given for.
    archive : str
        The beginning of `path` that names its archive among several, which no folder of its is.
    """

    path: str
    stamp: str
    label: str | None = None
    split: Side | None = None
    archive: str = ""


def split_by_name(sides: Sequence[Side | None], options: SourceOptions) -> list[AuditEntry]:
    """What to say where the names of all files of a data set are those of sides of a split; empty if there is none."""
    if not all(sides) or len(set(sides)) < 2 or options.no_given_split or options.unlabelled:
        return []
    return [AuditEntry("*", "given split", "by the names of the files (--no-given-split leaves it to be drawn)")]


class ListedSource:
    """The images among listed files.

    Parameters
    ----------
    data : str
        The container, as messages name it.
    files : iterable of ListedFile
    read : callable
        The content of the file of a path; from any thread.
    options : SourceOptions
    ignored : sequence of AuditEntry
        What the container noticed itself.

    Raises
    ------
    UserError
        If there is no image.
    """

    def __init__(
        self,
        data: str,
        files: Iterable[ListedFile],
        read: Callable[[str], bytes],
        options: SourceOptions,
        ignored: Sequence[AuditEntry] = (),
    ) -> None:
        where = printable(data)
        self.name = PurePosixPath(where.rstrip("/")).name.partition(".")[0] or "images"
        self._read = read
        images, left_out = _images(files)
        if not images:
            seen = "; ".join(f"{entry.path}: {entry.detail}" for entry in left_out[:5])
            raise UserError(
                f"'{where}' holds no images{f' ({seen})' * bool(seen)}; give one that holds PNG, JPEG, TIFF, … files."
            )
        require_readers(file.path for file in images)
        self.ignored = [*ignored, *left_out]
        if options.unlabelled:
            found = [(file, Item(printable(file.path))) for file in images]
        elif any(file.label for file in images):
            found = [(file, Item(printable(file.path), file.label, file.split)) for file in images]
        else:
            found = self._by_folders(images, where, options)
        self._files = [file for file, _ in found]
        self.items = [item for _, item in found]

    def _by_folders(
        self, images: Sequence[ListedFile], where: str, options: SourceOptions
    ) -> list[tuple[ListedFile, Item]]:
        paths = [file.path.removeprefix(file.archive) for file in images]
        layout = read_layout(paths, where, no_given_split=options.no_given_split)
        self.ignored += layout.remarks
        found = []
        for file, place in zip(images, layout.places, strict=True):
            if place is None:
                self.ignored.append(AuditEntry(printable(file.path), "no class", "lies in no class folder"))
            else:
                found.append((file, Item(printable(file.path), place.label, place.split or file.split)))
        return found

    def fingerprint(self) -> str:
        facts = (f"{item}\0{file.stamp}" for file, item in zip(self._files, self.items, strict=True))
        return digest_of("container", *facts)

    def open(self, index: int) -> Image.Image:
        path = self._files[index].path
        content = self._read(path)
        if not content:
            raise EmptyFileError("the file holds no bytes")
        return open_image(io.BytesIO(content), path)


def _images(files: Iterable[ListedFile]) -> tuple[list[ListedFile], list[AuditEntry]]:
    """Files that are images, by their paths, and what became of the others."""
    pictures, arrays = list[ListedFile](), list[ListedFile]()
    passed, others, outside = (dict[str, list[str]]() for _ in range(3))
    for file in {file.path: file for file in files}.values():  # the last of equal paths is what an archive means
        parts = file.path.split("/")
        suffix = suffix_of(file.path)
        kind = f"*{suffix}" if suffix else "* (no extension)"
        if not all(parts) or ".." in parts or "\\" in file.path:
            outside.setdefault(kind, []).append(file.path)
        elif any(map(is_left_by_a_system, parts)):
            passed.setdefault(kind, []).append(file.path)
        elif suffix in IMAGE_SUFFIXES:
            pictures.append(file)
        elif suffix in ARRAY_SUFFIXES:
            arrays.append(file)
        else:
            others.setdefault(kind, []).append(file.path)
    images = sorted(pictures or arrays, key=lambda file: file.path.replace("/", "\0"))
    for file in arrays if pictures else ():
        others.setdefault(f"*{suffix_of(file.path)}", []).append(file.path)
    entries = [*by_kind("passed over", passed), *by_kind("ignored", others)]
    entries += [
        AuditEntry(entry.path, entry.problem, f"{entry.detail}, whose path leaves the container", entry.count)
        for entry in by_kind("ignored", outside)
    ]
    return images, entries
