"""What a source of images is: its items, and a way to open each of them."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from selfsup.data.audit import AuditEntry
from selfsup.data.cache import cache_root
from selfsup.data.items import Item, Side
from selfsup.errors import UserError


def silent(message: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class SourceOptions:
    """What a user may say of a source.

    Attributes
    ----------
    data_root : Path or None
        Folder that already holds the data set's files.
    data_url : str or None
        Address or local zip in place of the published one.
    unlabelled : bool
        Leave the labels out.
    no_given_split : bool
        Take folders that are called as the sides of a split are for classes.
    cache_dir : Path
        Where downloads are kept.
    say : callable
        Takes a line of progress.
    """

    data_root: Path | None = None
    data_url: str | None = None
    unlabelled: bool = False
    no_given_split: bool = False
    cache_dir: Path = field(default_factory=cache_root)
    say: Callable[[str], None] = silent

    def refuse(self, *options: str, source: str) -> None:
        """Raise UserError if an option is set that means nothing to `source`."""
        for option in options:
            if getattr(self, option) is not None:
                flag = "--" + option.replace("_", "-")
                raise UserError(f"{flag} means nothing to the data '{source}'; leave it out.")


#: What the system says of a file itself (gone, forbidden, of other content than it says of itself), and libraries say
#: without a number.
OF_THE_FILE = (None, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EINVAL)


class EmptyFileError(ValueError):
    """What opening an image raises where its file has no bytes."""


def require_reached(name: str, error: Exception) -> None:
    """Refuse to go on where the image `name` could not be got at: what is wrong may be its way here, and be over soon.

    Raises
    ------
    UserError
        If `error` says nothing of the image.
    """
    if isinstance(error, UserError):
        raise error
    if isinstance(error, OSError) and error.errno not in OF_THE_FILE:
        raise UserError(
            f"'{name}' cannot be read now ({error.strerror}); look after the disk or the network and run again, or "
            "move the file away."
        ) from None


class Source(Protocol):
    """A data set before it is decoded.

    A module in this package that offers one has a function
    ``open_source(options: SourceOptions) -> Source``; its file name is the name in the
    configuration.
    """

    @property
    def name(self) -> str:
        """Name of the data set."""

    @property
    def items(self) -> Sequence[Item]:
        """One per image: its name and, as far as they are known, its label, given side of the split and group."""

    @property
    def ignored(self) -> Sequence[AuditEntry]:
        """Files seen and not used, with the reason."""

    def fingerprint(self) -> str:
        """Text that changes whenever the content may have changed; cheap to compute.

        It tells whether decoded images can be used again. What a study is of is told by
        :mod:`selfsup.data.contents`.
        """

    def open(self, index: int) -> Image.Image:
        """Open one image, not necessarily decoded; what this raises sets the image aside, if it is of the image.

        Raises
        ------
        UserError
            If images cannot be got at: it ends the command, for the image may be sound the next time.
        """


def digest_of(*parts: str | bytes) -> str:
    """Hash of texts, different for different texts however they are divided."""
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        encoded = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()


@dataclass(frozen=True)
class Arrays:
    """A data set in memory.

    Attributes
    ----------
    images : ndarray of uint8, shape (N, H, W) or (N, H, W, 3)
    labels : sequence of str or None, length N
        None where a label is unknown.
    sides : sequence of str, length N, optional
        The data set's own published split: ``train``, ``val`` or ``test`` for each image.
    folds : sequence of tuple of int, length N, optional
        Its own draws of labels that each image is in.
    """

    images: np.ndarray
    labels: Sequence[str | None]
    sides: Sequence[Side | None] | None = None
    folds: Sequence[tuple[int, ...]] | None = None


class ArraySource:
    """A source whose images are read as arrays, and only when one is first needed.

    Parameters
    ----------
    name : str
        Name of the data set; image names begin with it.
    load : callable
        Reads the arrays.
    identity : str
        Stands for the content: changes whenever what `load` returns changes.
    unlabelled : bool
        Leave the labels, and with them the split, out.
    """

    ignored: Sequence[AuditEntry] = ()

    def __init__(self, name: str, load: Callable[[], Arrays], *, identity: str, unlabelled: bool = False) -> None:
        self.name = name
        self._load = load
        self._identity = identity
        self._unlabelled = unlabelled

    @cached_property
    def _arrays(self) -> Arrays:
        return self._load()

    @cached_property
    def items(self) -> Sequence[Item]:
        count = len(self._arrays.images)
        width = len(str(count - 1))
        names = [f"{self.name}/{index:0{width}d}" for index in range(count)]
        if self._unlabelled:
            return [Item(name) for name in names]
        arrays, none = self._arrays, [None] * count
        return list(map(Item, names, arrays.labels, arrays.sides or none, none, arrays.folds or [()] * count))

    def fingerprint(self) -> str:
        return digest_of(self.name, self._identity, str(self._unlabelled))

    def open(self, index: int) -> Image.Image:
        return Image.fromarray(self._arrays.images[index])
