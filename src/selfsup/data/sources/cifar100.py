"""CIFAR-100 (Krizhevsky, 2009): 60,000 images of 32x32 pixels, 100 classes; downloaded (170 MB)."""

from __future__ import annotations

from selfsup.data.sources._torchvision import Archive, Published, open_published
from selfsup.data.sources.base import ArraySource, SourceOptions

_FOLDER = "cifar-100-python"
PUBLISHED = Published(
    name="cifar100",
    open_part=lambda datasets, root, test, download: datasets.CIFAR100(root, train=not test, download=download),
    pixels_and_labels=lambda part: (part.data, part.targets),
    files=(f"{_FOLDER}/train", f"{_FOLDER}/test", f"{_FOLDER}/meta"),
    archives=(
        Archive(
            "cifar-100-python.tar.gz",
            "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            "eb9058c3a382ffc7106e4002c42a8d85",
        ),
    ),
)


def open_source(options: SourceOptions) -> ArraySource:
    """CIFAR-100, its 100 fine classes, with its official test images."""
    return open_published(PUBLISHED, options)
