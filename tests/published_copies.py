"""Tiny copies of published data sets, in the real formats."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import pickle
import struct
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torchvision

from selfsup.data.sources import cifar10, cifar100, fashion_mnist, stl10

TRAIN, TEST = 10, 4
Files = dict[str, bytes]


@dataclass
class Fake:
    """A tiny copy of a published data set.

    Attributes
    ----------
    name : str
    module : module
        Its source.
    files : dict of str to bytes
        What its archives unpack to, by path below the root.
    archives : dict of str to bytes
    pixels : ndarray of uint8, shape (TRAIN + TEST, H, W) or (TRAIN + TEST, H, W, 3)
    labels : list of str
    """

    name: str
    module: ModuleType
    files: Files
    archives: Files
    pixels: np.ndarray
    labels: list[str]

    def lie_in(self, root: Path, files: Files | None = None) -> Path:
        for file, content in (self.files if files is None else files).items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_bytes(content)
        return root


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def tar_gz(files: Files) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def random_pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (TRAIN + TEST, *shape), dtype=np.uint8)


def fake_cifar(name: str, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Python pickles of rows of 3072 bytes: all red, then all green, then all blue, by rows."""
    fine = name == "cifar100"
    loader: Any = torchvision.datasets.CIFAR100 if fine else torchvision.datasets.CIFAR10
    folder, key, meta_key = loader.base_folder, "fine_labels" if fine else "labels", loader.meta["key"]
    classes = [f"class {letter}" for letter in "zyx"]
    pixels = random_pixels(32, 32, 3)
    rows = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
    labels = [index % 3 for index in range(TRAIN + TEST)]
    parts = [name for name, _ in loader.train_list]
    bounds = np.linspace(0, TRAIN, len(parts) + 1).astype(int).tolist()
    spans = dict(zip(parts, itertools.pairwise(bounds), strict=True))
    spans[loader.test_list[0][0]] = (TRAIN, TRAIN + TEST)
    files = {
        f"{folder}/{part}": pickle.dumps({"data": rows[start:stop], key: labels[start:stop]})
        for part, (start, stop) in spans.items()
    }
    files[f"{folder}/{loader.meta['filename']}"] = pickle.dumps({meta_key: classes})
    checked = {part: md5(files[f"{folder}/{part}"]) for part in (*spans, loader.meta["filename"])}
    monkeypatch.setattr(loader, "train_list", [[part, checked[part]] for part in parts])
    monkeypatch.setattr(loader, "test_list", [[part, checked[part]] for part, _ in loader.test_list])
    monkeypatch.setattr(loader, "meta", loader.meta | {"md5": checked[loader.meta["filename"]]})
    archive = tar_gz(files)
    monkeypatch.setattr(loader, "tgz_md5", md5(archive))
    module = cifar100 if fine else cifar10
    return Fake(name, module, files, {loader.filename: archive}, pixels, [classes[label] for label in labels])


def fake_stl10(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Raw bytes, colour by colour, column by column; labels from 1."""
    loader: Any = torchvision.datasets.STL10
    folder, classes = loader.base_folder, ["airplane", "bird", "car"]
    pixels = random_pixels(96, 96, 3)
    labels = np.arange(TRAIN + TEST) % 3
    by_column = pixels.transpose(0, 3, 2, 1)
    files = {
        f"{folder}/train_X.bin": by_column[:TRAIN].tobytes(),
        f"{folder}/train_y.bin": (labels[:TRAIN] + 1).astype(np.uint8).tobytes(),
        f"{folder}/test_X.bin": by_column[TRAIN:].tobytes(),
        f"{folder}/test_y.bin": (labels[TRAIN:] + 1).astype(np.uint8).tobytes(),
        f"{folder}/class_names.txt": "\n".join(classes).encode(),
    }
    sums = {name.split("/")[1]: md5(content) for name, content in files.items()}
    kept = [*([name, sums[name]] for name in ("train_X.bin", "train_y.bin")), ["unlabeled_X.bin", "never here"]]
    monkeypatch.setattr(loader, "train_list", kept)
    monkeypatch.setattr(loader, "test_list", [[name, sums[name]] for name in ("test_X.bin", "test_y.bin")])
    archive = tar_gz(files)
    monkeypatch.setattr(loader, "tgz_md5", md5(archive))
    return Fake("stl10", stl10, files, {loader.filename: archive}, pixels, [classes[label] for label in labels])


def fake_fashion_mnist(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """The IDX format: a big-endian header of dimensions, then bytes."""
    loader: Any = torchvision.datasets.FashionMNIST
    pixels = random_pixels(28, 28)
    labels = (np.arange(TRAIN + TEST) % 10).astype(np.uint8)
    files = {}
    for part, span in (("train", slice(0, TRAIN)), ("t10k", slice(TRAIN, None))):
        count = len(labels[span])
        images = struct.pack(">4I", 0x803, count, 28, 28) + pixels[span].tobytes()
        files[f"FashionMNIST/raw/{part}-images-idx3-ubyte"] = images
        files[f"FashionMNIST/raw/{part}-labels-idx1-ubyte"] = struct.pack(">2I", 0x801, count) + labels[span].tobytes()
    archives = {f"{name}.gz": gzip.compress(content) for name, content in files.items()}
    sums = {Path(name).name: md5(content) for name, content in archives.items()}
    monkeypatch.setattr(loader, "resources", [(name, sums[name]) for name, _ in loader.resources])
    return Fake("fashion-mnist", fashion_mnist, files, archives, pixels, [loader.classes[label] for label in labels])


FAKES: dict[str, Callable[[pytest.MonkeyPatch], Fake]] = {
    "cifar10": lambda monkeypatch: fake_cifar("cifar10", monkeypatch),
    "cifar100": lambda monkeypatch: fake_cifar("cifar100", monkeypatch),
    "stl10": fake_stl10,
    "fashion-mnist": fake_fashion_mnist,
}
