"""Image files below a folder: opened by their place in a list, and told from others without reading all of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from selfsup.data.image_files import open_image
from selfsup.data.items import Item
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
    items : sequence of Item
        The same images.
    facts : mapping of str to (int, int)
        Of every path, its size in bytes and its modification time in nanoseconds.
    """

    def __init__(
        self, root: Path, paths: Sequence[str], items: Sequence[Item], facts: Mapping[str, tuple[int, int]]
    ) -> None:
        self.items = items
        self._root, self._paths, self._facts = root, paths, facts

    def fingerprint(self) -> str:
        facts = (
            f"{path}\0{size}\0{modified}\0{item}"
            for path, item in zip(self._paths, self.items, strict=True)
            for size, modified in (self._facts[path],)
        )
        return digest_of("files", *facts, *self._contents())

    def _contents(self) -> list[str]:
        """Digests that tell these files from others of the same names, sizes and times.

        A time tells where it is a file's own. Files that share theirs were given it by whatever made or copied
        them, so they are read whole. Of others, which may have kept the times of what they were made from, a piece
        of some is read.
        """
        shared = Counter(modified for _, modified in self._facts.values())
        whole = {path for path in self._paths if shared[self._facts[path][1]] > 1 or self._facts[path][1] <= 0}
        places = np.unique(np.linspace(0, len(self._paths) - 1, SAMPLED).astype(int)).tolist()
        read = whole | {self._paths[place] for place in places}
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda path: self._content(path, whole=path in whole), sorted(read)))

    def _content(self, path: str, *, whole: bool) -> str:
        try:
            with open(self._root / path, "rb") as file:
                if whole:
                    return hashlib.file_digest(file, "blake2b").hexdigest()
                file.seek(self._facts[path][0] // 2)
                return hashlib.blake2b(file.read(PIECE)).hexdigest()
        except OSError as error:
            return str(error.strerror)

    def open(self, index: int) -> Image.Image:
        path = self._paths[index]
        if self._facts[path][0] == 0:
            raise EmptyFileError("the file holds no bytes")
        return open_image(self._root / path)
