"""Data sets that torchvision publishes, read by its own loaders and fetched by ours.

torchvision's downloader has no time limit and starts again from nothing; so the archives are
downloaded here, to where its loaders look for them, and the loaders check and unpack them.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.data.audit import printable
from selfsup.data.cache import locked
from selfsup.data.items import Side
from selfsup.data.sources._download import download
from selfsup.data.sources.base import Arrays, ArraySource, SourceOptions, digest_of
from selfsup.errors import UserError

#: In the order of the parts of every such data set.
_PARTS: tuple[Side, ...] = ("train", "test")


@dataclass(frozen=True)
class Archive:
    """One published file: its path below the root, address and MD5 sum (of damage, not of malice)."""

    file: str
    url: str
    md5: str


@dataclass(frozen=True)
class Published:
    """What is particular to one data set.

    Attributes
    ----------
    name : str
        Its name here.
    open_part : callable
        ``(torchvision.datasets, root, test, download)`` to torchvision's data set object of the
        training or test part.
    pixels_and_labels : callable
        From that object to uint8 pixels of shape (N, H, W) or (N, H, W, 3), and integer labels.
    files : tuple of str
        Paths below the root of the files that the loader reads.
    archives : tuple of Archive
        What they are unpacked from.
    complete : callable
        Adds what torchvision does not read, from the arrays and the root.
    """

    name: str
    open_part: Callable[[Any, Path, bool, bool], Any]
    pixels_and_labels: Callable[[Any], tuple[np.ndarray, Sequence[int]]]
    files: tuple[str, ...]
    archives: tuple[Archive, ...]
    complete: Callable[[Arrays, Path], Arrays] = lambda arrays, root: arrays


def open_published(published: Published, options: SourceOptions) -> ArraySource:
    """The data set's training and test parts as one source that knows its published split.

    Raises
    ------
    UserError
        If the files are neither in ``data_root`` nor, without one, in the cache or on the network.
    """
    options.refuse("data_url", source=published.name)
    root = root_of(published, options)
    return ArraySource(
        published.name,
        lambda: _load(published, root),
        identity=digest_of(*(identity(root / file) for file in published.files)),
        unlabelled=options.unlabelled,
    )


def root_of(published: Published, options: SourceOptions) -> Path:
    """Folder that holds the data set's files; fetches and unpacks them where they are missing."""
    if options.data_root is not None:
        top = Path(published.files[0]).parts[0]
        given = options.data_root
        root = given.parent if given.name == top else given
        archives = [archive.file for archive in published.archives]
        if not (_all_there(root, published.files) or _all_there(root, archives)):
            raise UserError(
                f"The files of {published.name} are not in '{printable(str(given))}'; give the folder "
                f"that holds {_expected(published)} with --data-root."
            )
    else:
        root = options.cache_dir / "downloads" / published.name
    if not _all_there(root, published.files):
        with locked(root / "lock"):
            if not _all_there(root, published.files):
                _fetch(published, root, options)
    return root


def _fetch(published: Published, root: Path, options: SourceOptions) -> None:
    remedy = (
        f"check the network, or give the folder that holds {_expected(published)} of {published.name} with --data-root"
    )
    for archive in published.archives:
        path = root / archive.file
        if not path.exists():
            download(archive.url, path, say=options.say, remedy=remedy)
        # Checked here because torchvision would fetch a damaged archive again by itself.
        if _md5(path) != archive.md5:
            raise UserError(f"'{printable(str(path))}' is damaged or another version; remove it, or {remedy}.")
    options.say(f"Unpacking {published.name}.")
    try:
        published.open_part(_datasets(), root, False, True)
    except Exception as error:
        raise UserError(f"The archives of {published.name} cannot be unpacked: {error}; {remedy}.") from error


def _load(published: Published, root: Path) -> Arrays:
    try:
        train, test = (published.open_part(_datasets(), root, part, False) for part in (False, True))
        pixels, labels = zip(*map(published.pixels_and_labels, (train, test)), strict=True)
        arrays = Arrays(
            images=np.concatenate(pixels),
            labels=[train.classes[index] for part in labels for index in part],
            sides=[side for side, part in zip(_PARTS, labels, strict=True) for _ in part],
        )
        return published.complete(arrays, root)
    except Exception as error:
        raise UserError(
            f"The files of {published.name} in '{printable(str(root))}' cannot be read: {error}; "
            "remove them to have them downloaded again, or give a sound copy with --data-root."
        ) from error


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def identity(path: Path) -> str:
    """Size and beginning of a file: the same for each copy, and enough to tell data sets apart."""
    with path.open("rb") as file:
        return f"{path.stat().st_size} {hashlib.sha256(file.read(1 << 16)).hexdigest()}"


def _datasets() -> Any:
    return importlib.import_module("torchvision.datasets")


def _all_there(root: Path, files: Iterable[str]) -> bool:
    return all((root / file).is_file() for file in files)


def _expected(published: Published) -> str:
    first, *_, last = published.files
    return f"{first} to {Path(last).name}"
