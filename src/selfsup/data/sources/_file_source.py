"""Image files below a folder: opened by their place in a list, and told from others without reading all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from selfsup.data.image_files import open_image
from selfsup.data.items import Item, ItemTable, TabledItems
from selfsup.data.sources.base import EmptyFileError, digest_of

#: Images of which a piece is read to tell them from others of the same names, sizes and times; bytes of a piece.
SAMPLED, PIECE = 1000, 4096


class FileSource:
    """A source of which every image is a file.

    Parameters
    ----------
    root : Path
    paths : sequence of str
        Of every image, below `root`.
    table : ItemTable
        The same images.
    sizes, times : ndarray of int64
        Of every image, its size in bytes and its modification time in nanoseconds.
    """

    def __init__(
        self, root: Path, paths: Sequence[str], table: ItemTable, sizes: np.ndarray, times: np.ndarray
    ) -> None:
        self.items: Sequence[Item] = TabledItems(table)
        self._root, self._paths, self._sizes, self._times = root, paths, sizes, times

    def fingerprint(self) -> str:
        table = ItemTable.of(self.items)
        said = ["\0".join(texts) for texts in (self._paths, table.names, table.classes)]
        groups = [repr(table.groups)] if table.groups else []
        numbers = (table.labels, table.sides, self._sizes, self._times)
        return digest_of("files", *said, *groups, *(array.tobytes() for array in numbers), *self._contents())

    def _contents(self) -> list[str]:
        """Digests that tell these files from others of the same names, sizes and times.

        A time tells where it is a file's own. Files that share theirs were given it by whatever made or copied
        them, so they are read whole. Of others, which may have kept the times of what they were made from, a piece
        of some is read.
        """
        _, time, shared = np.unique(self._times, return_inverse=True, return_counts=True)
        whole = (shared[time] > 1) | (self._times <= 0)
        read = whole.copy()
        read[np.unique(np.linspace(0, len(whole) - 1, SAMPLED).astype(int))] = True
        with ThreadPoolExecutor() as pool:
            return list(
                pool.map(lambda place: self._content(place, whole=bool(whole[place])), np.flatnonzero(read).tolist())
            )

    def _content(self, place: int, *, whole: bool) -> str:
        try:
            with open(self._root / self._paths[place], "rb") as file:
                if whole:
                    return hashlib.file_digest(file, "blake2b").hexdigest()
                file.seek(int(self._sizes[place]) // 2)
                return hashlib.blake2b(file.read(PIECE)).hexdigest()
        except OSError as error:
            return str(error.strerror)

    def open(self, index: int) -> Image.Image:
        if self._sizes[index] == 0:
            raise EmptyFileError("the file holds no bytes")
        return open_image(self._root / self._paths[index])
