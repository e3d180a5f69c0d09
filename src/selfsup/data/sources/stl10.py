"""STL-10 (Coates et al., 2011), labelled part: 13,000 images of 96x96 pixels, 10 classes; downloads 2.6 GB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selfsup.data.sources._torchvision import Archive, Published, open_published
from selfsup.data.sources.base import ArraySource, SourceOptions


def _open_part(datasets: Any, root: Path, test: bool, download: bool) -> Any:
    class LabelledSTL10(datasets.STL10):  # type: ignore[misc]
        # Else the loader wants, and hashes, 2.7 GB of unlabelled images that are not used here.
        train_list = datasets.STL10.train_list[:2]

    return LabelledSTL10(root, split="test" if test else "train", download=download)


_FOLDER = "stl10_binary"
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
)


def open_source(options: SourceOptions) -> ArraySource:
    """STL-10's labelled images with its official test images."""
    return open_published(PUBLISHED, options)
