"""CIFAR-10 (Krizhevsky, 2009): 60,000 images of 32x32 pixels, 10 classes; downloaded (170 MB)."""

from __future__ import annotations

from selfsup.data.sources._torchvision import Archive, Published, open_published
from selfsup.data.sources.base import ArraySource, SourceOptions

_FOLDER = "cifar-10-batches-py"
PUBLISHED = Published(
    name="cifar10",
    open_part=lambda datasets, root, test, download: datasets.CIFAR10(root, train=not test, download=download),
    pixels_and_labels=lambda part: (part.data, part.targets),
    files=(
        *(f"{_FOLDER}/data_batch_{number}" for number in range(1, 6)),
        f"{_FOLDER}/test_batch",
        f"{_FOLDER}/batches.meta",
    ),
    archives=(
        Archive(
            "cifar-10-python.tar.gz",
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            "c58f30108f718f92721af3b95e74349a",
        ),
    ),
)


def open_source(options: SourceOptions) -> ArraySource:
    """CIFAR-10 with its official test images."""
    return open_published(PUBLISHED, options)
