"""What a source of images must keep; an outside source runs it in its own tests."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from selfsup.data.audit import AuditEntry
from selfsup.data.build import prepare_store
from selfsup.data.items import SIDES, Item, ItemTable
from selfsup.data.sources.base import Source, SourceOptions

#: Most images that are opened, and threads that open them.
OPENED, THREADS = 64, 8


def check_source(open_source: Callable[[SourceOptions], Source], options: SourceOptions | None = None) -> None:
    """Check that a source keeps what :class:`selfsup.data.sources.base.Source` promises.

    Parameters
    ----------
    open_source : callable
        What its module has by that name.
    options : SourceOptions, optional
        Where its files lie, if it does not find them by itself. All images must be readable.

    Raises
    ------
    AssertionError
        Names the promise that is broken.
    """
    options = options or SourceOptions()
    source = open_source(options)
    check_listing(source)
    check_opened_again(source, open_source(options))
    if any(item.label is not None for item in source.items):
        check_without_labels(source, open_source(replace(options, unlabelled=True)))
    check_images(source)
    check_store(source)


def check_listing(source: Source) -> None:
    """Names are paths that differ, and what is said of the images is text, and leaves some to train on."""
    items = list(source.items)
    assert source.name, "name is empty"
    assert all(isinstance(item, Item) for item in items), "items holds other things than Item"
    names = [item.name for item in items]
    assert names, "there are no images"
    assert len(set(names)) == len(names), "two images have one name"
    for name in names:
        parts = name.split("/")
        assert "\\" not in name and all(parts) and ".." not in parts, f"{name!r} is no path relative to the data"
    for item in items:
        labels = item.label if isinstance(item.label, tuple) else (item.label,)
        assert all(text is None or (type(text) is str and text) for text in (*labels, item.group)), (
            f"{item} has a label or group that is an empty text, or none"
        )
        assert labels == tuple(sorted({*labels}, key=str)) != (), f"{item} has no labels, or not each once and sorted"
        assert item.split in (None, *SIDES), f"{item} is given for another side than {', '.join(SIDES)}"
        assert all(type(fold) is int and fold >= 0 for fold in item.folds), f"{item} has a fold that is no number"
    kinds = {type(item.label) for item in items if item.label is not None}
    assert len(kinds) <= 1, "some images have one label, others a tuple of them"
    assert not all(item.split in ("val", "test") for item in items), "the given split leaves nothing to train on"
    assert all(isinstance(entry, AuditEntry) for entry in source.ignored), "ignored holds other things than AuditEntry"
    assert not {entry.path for entry in source.ignored} & set(names), "an image is in ignored too"


def check_opened_again(source: Source, again: Source) -> None:
    """The same data are the same, in the same order."""
    assert list(again.items) == list(source.items), "opened again, it has other items, or another order"
    assert again.fingerprint() == source.fingerprint(), "opened again, it has another fingerprint"


def check_without_labels(source: Source, without: Source) -> None:
    """``unlabelled`` leaves the labels out, and is another content."""
    assert all(item.label is None for item in without.items), "with unlabelled it has labels"
    names, left = ({item.name for item in opened.items} for opened in (source, without))
    assert left >= names, "with unlabelled it leaves images out"
    assert without.fingerprint() != source.fingerprint(), "the fingerprint is the same with and without labels"


def check_images(source: Source) -> None:
    """Every image opens by itself, in any order and in several threads at once."""
    count = min(OPENED, len(source.items))
    expected = [_pixels(source, index) for index in range(count)]
    assert all(map(np.array_equal, expected, [_pixels(source, index) for index in range(count)])), (
        "opened again, an image has other pixels"
    )
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(count), 2)).tolist()
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda index: _pixels(source, index), order))
    same = (np.array_equal(pixels, expected[index]) for index, pixels in zip(order, found, strict=True))
    assert all(same), "opened in several threads, an image has other pixels"


def check_store(source: Source) -> None:
    """A study can be made of it."""
    with tempfile.TemporaryDirectory(prefix="selfsup-") as scratch:
        store = prepare_store(source, store_size=32, cache_dir=Path(scratch))
        expected = ItemTable.of(source.items)
        assert store.names == expected.names, "not all images can be read"
        assert store.classes == expected.classes, "the store has other classes"


def _pixels(source: Source, index: int) -> np.ndarray:
    image = source.open(index)
    assert isinstance(image, Image.Image), f"open() gave {type(image).__name__}, which is no PIL image"
    with image:
        return np.array(image)
