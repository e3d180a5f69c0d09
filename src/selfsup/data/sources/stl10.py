"""STL-10 (Coates et al., 2011): 13,000 images of 10 classes, 100,000 unlabelled, 96x96 pixels; downloads 2.6 GB."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.data.audit import printable
from selfsup.data.sources._pooled import PooledSource
from selfsup.data.sources._torchvision import Archive, Published, identity, open_published, root_of
from selfsup.data.sources.base import Arrays, ArraySource, Source, SourceOptions
from selfsup.errors import UserError

_FOLDER = "stl10_binary"
#: Files that may be missing: the images without a label, and the ten draws of 100 labels per class.
_POOL, _FOLDS = f"{_FOLDER}/unlabeled_X.bin", f"{_FOLDER}/fold_indices.txt"
#: Of an image: colours, columns, rows.
_SHAPE = (3, 96, 96)


def _open_part(datasets: Any, root: Path, test: bool, download: bool) -> Any:
    class LabelledSTL10(datasets.STL10):  # type: ignore[misc]
        # Else the loader wants, and hashes, 2.7 GB of unlabelled images, which are not read by it.
        train_list = datasets.STL10.train_list[:2]

    return LabelledSTL10(root, split="test" if test else "train", download=download)


def _with_folds(arrays: Arrays, root: Path) -> Arrays:
    """The arrays with the draws of labels; images for training that are in none of these validate, where there are."""
    if not (root / _FOLDS).is_file():
        return arrays
    folds: list[tuple[int, ...]] = [()] * len(arrays.labels)
    for number, line in enumerate((root / _FOLDS).read_text().splitlines()):
        for index in map(int, line.split()):
            folds[index] += (number,)
    sides = list(arrays.sides or ())
    unused = [index for index, side in enumerate(sides) if side == "train" and not folds[index]]
    if {arrays.labels[index] for index in unused} == set(arrays.labels):
        for index in unused:
            sides[index] = "val"
    return replace(arrays, sides=sides, folds=folds)


PUBLISHED = Published(
    name="stl10",
    open_part=_open_part,
    pixels_and_labels=lambda part: (part.data.transpose(0, 2, 3, 1), part.labels),
    files=tuple(
        f"{_FOLDER}/{file}" for file in ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "class_names.txt")
    ),
    archives=(
        Archive(
            "stl10_binary.tar.gz",
            "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
            "91f7769df0f17e558f3565bffb0c7dfb",
        ),
    ),
    complete=_with_folds,
)


def open_source(options: SourceOptions) -> Source:
    """STL-10 with its official test images, its draws of labels, and its images without a label."""
    labelled = open_published(PUBLISHED, options)
    file = root_of(PUBLISHED, options) / _POOL
    if not file.is_file():
        options.say(f"There is no '{printable(str(file))}': STL-10 without its 100,000 images without a label.")
        return labelled
    return PooledSource(
        labelled, ArraySource("stl10", lambda: _read_pool(file), identity=identity(file), unlabelled=True)
    )


def _read_pool(file: Path) -> Arrays:
    """The images without a label, which stay on the disk."""
    size = file.stat().st_size
    if not size or size % np.prod(_SHAPE):
        raise UserError(f"'{printable(str(file))}' is damaged ({size:,} bytes); unpack the archive again.")
    images = np.memmap(file, np.uint8, mode="r").reshape(-1, *_SHAPE).transpose(0, 3, 2, 1)
    return Arrays(images, [None] * len(images))
