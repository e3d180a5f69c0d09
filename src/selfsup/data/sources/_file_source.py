"""Image files below a folder: opened by their place in a list, and told from others without reading all of them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from selfsup.atomic import replace_file
from selfsup.data.cache import cache_root
from selfsup.data.formats.image_files import open_image
from selfsup.data.items import Item, ItemTable, TabledItems
from selfsup.data.sources.base import EmptyFileError, digest_of
from selfsup.errors import UserError

#: Images of which a piece is read to tell them from others of the same names, sizes and times; bytes of a piece.
SAMPLED, PIECE = 1000, 4096
#: Files that are read in one task of a thread, and seconds after which the time of a change tells it from the next.
BLOCK, SETTLED = 256, 2


def facts_of(status: os.stat_result) -> tuple[int, int, int]:
    """Of a file, its size in bytes, and the times of its last modification and change in nanoseconds."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


class FileSource:
    """A source of which every image is a file.

    Parameters
    ----------
    root : Path
    paths : sequence of str
        Of every image, below `root`.
    table : ItemTable
        The same images.
    facts : ndarray of int64, shape (N, 3)
        :func:`facts_of` every image.
    """

    def __init__(self, root: Path, paths: Sequence[str], table: ItemTable, facts: np.ndarray) -> None:
        self.items: Sequence[Item] = TabledItems(table)
        self._root, self._paths, self._facts = root, paths, facts

    def fingerprint(self) -> str:
        table = ItemTable.of(self.items)
        said = ["\0".join(texts) for texts in (self._paths, table.names, table.classes)]
        groups = [repr(table.groups)] if table.groups else []
        numbers = (table.labels, table.sides, table.sets, self._facts[:, :2])
        return digest_of("files", *said, *groups, *(array.tobytes() for array in numbers), self._contents())

    def _contents(self) -> str:
        """What tells these files from others of the same names, sizes and times.

        A time tells where it is a file's own. Files that share theirs were given it by whatever made or copied
        them, so they are read whole. Of others, which may have kept the times of what they were made from, a piece
        of some is read. What was read is remembered by the times of their last change, which nobody can set.
        """
        known = self._place_of_contents()
        if known is not None and known.is_file():
            return known.read_text(encoding="ascii")
        times = self._facts[:, 1]
        _, group, shared = np.unique(times, return_inverse=True, return_counts=True)
        whole = (shared[group] > 1) | (times <= 0)
        read = np.union1d(np.flatnonzero(whole), np.linspace(0, len(whole) - 1, SAMPLED).astype(int))

        def of_block(places: np.ndarray) -> str:
            return digest_of(*map(self._content, places.tolist(), whole[places].tolist()))

        with ThreadPoolExecutor() as pool:
            found = digest_of(*pool.map(of_block, np.array_split(read, len(read) // BLOCK + 1)))
        if known is not None:
            with contextlib.suppress(OSError, UserError):  # it is read again then
                known.parent.mkdir(parents=True, exist_ok=True)
                replace_file(known, found.encode())
        return found

    def _place_of_contents(self) -> Path | None:
        """Where what these files hold is remembered; None where their last change is not told, or just now."""
        if os.name == "nt" or time.time() - self._facts[:, 2].max() / 1e9 < SETTLED:
            return None
        return cache_root() / "contents" / digest_of("\0".join(self._paths), self._facts.tobytes())

    def _content(self, place: int, whole: bool) -> str:
        try:
            with open(self._root / self._paths[place], "rb") as file:
                if whole:
                    return hashlib.file_digest(file, "blake2b").hexdigest()
                file.seek(int(self._facts[place, 0]) // 2)
                return hashlib.blake2b(file.read(PIECE)).hexdigest()
        except OSError as error:
            return str(error.strerror)

    def open(self, index: int) -> Image.Image:
        if self._facts[index, 0] == 0:
            raise EmptyFileError("the file holds no bytes")
        return open_image(self._root / self._paths[index])
