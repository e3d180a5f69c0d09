"""Fashion-MNIST (Xiao et al., 2017): 70,000 grey images of 28x28 pixels, 10 classes; downloaded (30 MB)."""

from __future__ import annotations

from selfsup.data.sources._torchvision import Archive, Published, open_published
from selfsup.data.sources.base import ArraySource, SourceOptions

_FOLDER = "FashionMNIST/raw"
_MD5_OF_ARCHIVE = {
    "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
}
_ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
PUBLISHED = Published(
    name="fashion-mnist",
    open_part=lambda datasets, root, test, download: datasets.FashionMNIST(root, train=not test, download=download),
    pixels_and_labels=lambda part: (part.data.numpy(), part.targets.tolist()),
    files=tuple(f"{_FOLDER}/{file}" for file in _MD5_OF_ARCHIVE),
    archives=tuple(
        Archive(f"{_FOLDER}/{file}.gz", f"{_ADDRESS}/{file}.gz", md5) for file, md5 in _MD5_OF_ARCHIVE.items()
    ),
)


def open_source(options: SourceOptions) -> ArraySource:
    """Fashion-MNIST (arXiv:1708.07747) with its official test images."""
    return open_published(PUBLISHED, options)
