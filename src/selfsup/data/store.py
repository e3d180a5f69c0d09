"""The store: the decoded images of one data set, read-only, memory-mapped, shared by all workers.

A store is a folder of three files:

``pixels.bin``
    the pixels of all images, uint8, height x width x channels, back to back
``index.npz``
    ``sizes`` int32 (N, 2), ``offsets`` int64 (N + 1), ``digests`` S32 (N,),
    ``originals``, ``labels`` and ``sides`` int64 (N,), ``folds`` bool (F, N), ``sets`` bool (S, classes)
``meta.json``
    ``version``, ``name``, ``names``, ``classes``, ``groups``, ``audit``, ``rendering``

It appears whole or not at all: it is written beside its place, synced to the disk, and renamed.
It is never changed afterwards. A folder whose files do not agree with each other is not a store.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import zipfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfsup.data.audit import AuditEntry, printable
from selfsup.data.items import ItemTable
from selfsup.data.rendering import Rendering
from selfsup.errors import UserError

if TYPE_CHECKING:
    import torch

FORMAT_VERSION = 8
PIXELS, INDEX, META = "pixels.bin", "index.npz", "meta.json"


class Store:
    """Decoded images of one data set, in the order of the source; see the module for its files.

    Made by :func:`open_store` and :func:`selfsup.data.build.prepare_store`. Pickling one keeps its path
    alone.

    Attributes
    ----------
    path : Path
        Its folder.
    name : str
        Name of the data set.
    items : ItemTable
        What the data set says of each image.
    names, classes, labels
        Those of `items`.
    sizes : ndarray of int32, shape (N, 2)
        (height, width) in pixels.
    digests : ndarray of bytes, shape (N,)
        Hash of each image's size and pixels.
    originals : ndarray of int64, shape (N,)
        The image that each is a copy of, exactly or nearly, or itself; see :mod:`selfsup.data.near_duplicates`.
    audit : tuple of AuditEntry
        What decoding noticed, and from :func:`selfsup.data.build.prepare_store` also the files that
        the source did not use.
    rendering : Rendering
        How the images' values became pixels.
    channels : int
        How many each image has.
    """

    def __init__(
        self, path: Path, meta: dict[str, Any], index: dict[str, np.ndarray], audit: Sequence[AuditEntry] = ()
    ) -> None:
        self.path = path
        self.name: str = meta["name"]
        self.items = ItemTable(
            names=tuple(meta["names"]),
            classes=tuple(meta["classes"]),
            labels=index["labels"],
            sides=index["sides"],
            groups=tuple(meta["groups"]),
            folds=index["folds"],
            sets=index["sets"],
        )
        self.names, self.classes, self.labels = self.items.names, self.items.classes, self.items.labels
        self.rendering = Rendering.from_json(meta["rendering"])
        self.channels = len(self.rendering.taken)
        self.audit = (*audit, *(AuditEntry(*entry) for entry in meta["audit"]))
        self.sizes = index["sizes"]
        self.digests = index["digests"]
        self.originals = index["originals"]
        self._offsets = index["offsets"]

    def __len__(self) -> int:
        return len(self.names)

    def __reduce__(self) -> tuple[Any, ...]:
        return open_store, (self.path,)

    def image(self, index: int) -> np.ndarray:
        """Pixels of one image, uint8 of shape (H, W, channels); a read-only view of the file."""
        shape = (*self.sizes[index].tolist(), self.channels)
        return self._pixels[self._offsets[index] : self._offsets[index + 1]].reshape(shape)

    def picture(self, index: int, shown: Sequence[int] | None = None) -> np.ndarray:
        """One image to be looked at, uint8 of shape (H, W, 3).

        Parameters
        ----------
        index : int
        shown : sequence of int, optional
            Numbers of the channels that are its red, green and blue, blue black where there are two; one is grey. By
            default the first three.
        """
        pixels, taken = self.image(index), self.rendering.taken
        numbers = shown or taken[:3]
        chosen = pixels[..., [taken.index(number) for number in numbers]]
        if len(numbers) == 1:
            return np.repeat(chosen, 3, axis=2)
        return np.pad(chosen, ((0, 0), (0, 0), (0, 3 - len(numbers))))

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Images side by side, padded with zeros at the right and the bottom to the largest.

        Parameters
        ----------
        indices : sequence of int, length B
            At least one.

        Returns
        -------
        images : Tensor of uint8, shape (B, channels, Hmax, Wmax)
            In channels-last memory.
        sizes : Tensor of int64, shape (B, 2)
            (height, width) of each image.
        """
        import torch

        chosen = np.asarray(indices, dtype=np.int64)
        sizes = self.sizes[chosen].astype(np.int64)
        pixels = self._padded(chosen, sizes) if self._grid is None else self._grid[chosen]
        return torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.from_numpy(sizes)

    def will_need(self, indices: np.ndarray) -> None:
        """Have the system read images that are asked for soon, while others are used; where it can, as POSIX does.

        A store larger than memory is read from the disk again and again, in a random order. Without this every image
        would be waited for when its turn comes, one after another.
        """
        if not hasattr(mmap, "MADV_WILLNEED"):
            return
        chosen = np.sort(np.asarray(indices, np.int64))  # in the order in which they lie on the disk
        starts = self._offsets[chosen] // mmap.PAGESIZE * mmap.PAGESIZE
        lengths = self._offsets[chosen + 1] - starts
        with contextlib.suppress(OSError):  # it is advice
            for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
                self._file.madvise(mmap.MADV_WILLNEED, start, length)

    def _padded(self, chosen: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        height, width = sizes.max(0)
        pixels = np.zeros((len(chosen), height, width, self.channels), np.uint8)
        for place, index in enumerate(chosen.tolist()):
            image = self.image(index)
            pixels[place, : image.shape[0], : image.shape[1]] = image
        return pixels

    @cached_property
    def _file(self) -> mmap.mmap:
        with open(self.path / PIXELS, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    @cached_property
    def _pixels(self) -> np.ndarray:
        return np.frombuffer(self._file, np.uint8)

    @cached_property
    def _grid(self) -> np.ndarray | None:
        """All pixels as one array (N, H, W, channels) where all images have the same size."""
        height, width = self.sizes[0]
        alike = (self.sizes == self.sizes[0]).all()
        return self._pixels.reshape(-1, height, width, self.channels) if alike else None


def open_store(path: str | Path) -> Store:
    """Open a store; cheap, for its pixels are mapped and not read.

    Raises
    ------
    UserError
        If `path` holds no complete store of this version.
    """
    store = find_store(Path(path))
    if store is None:
        raise UserError(
            f"'{printable(str(path))}' holds no complete store of decoded images; run again to have it built."
        )
    return store


def find_store(path: Path, audit: Sequence[AuditEntry] = ()) -> Store | None:
    """The store at `path`, or None if there is no complete one; `audit` is put before its own."""
    try:
        meta = json.loads((path / META).read_text(encoding="utf-8"))
        if meta["version"] != FORMAT_VERSION:
            return None
        with np.load(path / INDEX, allow_pickle=False) as arrays:
            index = dict(arrays)
        store = Store(path, meta, index, audit)
        whole = (path / PIXELS).stat().st_size == index["offsets"][-1]
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile):
        return None
    return store if whole and len(store) > 0 and len(store.names) == len(store.sizes) else None
