"""Data sets read by torchvision's loaders, from small files in the real formats."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import pickle
import socket
import struct
import tarfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torchvision
from range_server import Served, serve

from selfsup.data import open_source, split_images
from selfsup.data.sources import cifar10, cifar100, fashion_mnist, stl10
from selfsup.data.sources._torchvision import Archive
from selfsup.data.sources.base import Source
from selfsup.errors import UserError

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


@pytest.fixture(params=FAKES)
def fake(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Fake:
    return FAKES[request.param](monkeypatch)


def expect_archives(fake: Fake, urls: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the source look for the fake's archives at `urls`, by path below the root."""
    archives = tuple(Archive(file, urls[file], md5(content)) for file, content in fake.archives.items())
    monkeypatch.setattr(fake.module, "PUBLISHED", replace(fake.module.PUBLISHED, archives=archives))


def assert_same(source: Source, fake: Fake) -> None:
    assert list(source.labels or ()) == fake.labels
    pixels = np.stack([np.asarray(source.open(index)) for index in range(len(source.names))])
    assert np.array_equal(pixels, fake.pixels)


def test_files_in_data_root_are_read_with_their_official_test(fake: Fake, tmp_path: Path) -> None:
    source = open_source(fake.name, data_root=fake.lie_in(tmp_path / "root"), cache_dir=tmp_path / "cache")
    assert_same(source, fake)
    assert source.official_test is not None
    assert np.flatnonzero(source.official_test).tolist() == list(range(TRAIN, TRAIN + TEST))
    assert source.names[0] == f"{fake.name}/00"
    assert len(set(source.names)) == TRAIN + TEST
    labels = np.unique(fake.labels, return_inverse=True)[1]
    split = split_images(labels, val_fraction=0.1, test_fraction=0.2, seed=0, official_test=source.official_test)
    assert split.test.tolist() == list(range(TRAIN, TRAIN + TEST))


def test_data_root_may_name_the_inner_folder(fake: Fake, tmp_path: Path) -> None:
    inner = fake.lie_in(tmp_path / "root") / Path(next(iter(fake.files))).parts[0]
    assert_same(open_source(fake.name, data_root=inner, cache_dir=tmp_path / "cache"), fake)


def test_archives_in_data_root_are_unpacked_without_a_network(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expect_archives(fake, dict.fromkeys(fake.archives, "http://127.0.0.1:9/"), monkeypatch)
    root = fake.lie_in(tmp_path / "root", fake.archives)
    assert_same(open_source(fake.name, data_root=root, cache_dir=tmp_path / "cache"), fake)


def test_without_data_root_each_archive_is_downloaded_once(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        served = {file: stack.enter_context(serve(Served(content))) for file, content in fake.archives.items()}
        expect_archives(fake, {file: one.url for file, one in served.items()}, monkeypatch)
        for _ in range(2):
            assert_same(open_source(fake.name, cache_dir=tmp_path), fake)
        assert [len(one.requests) for one in served.values()] == [1] * len(fake.archives)


def test_offline_it_fails_at_once_and_names_the_files_and_data_root(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/x"
        expect_archives(fake, dict.fromkeys(fake.archives, url), monkeypatch)
        started = time.perf_counter()
        with pytest.raises(UserError) as caught:
            open_source(fake.name, cache_dir=tmp_path)
        assert time.perf_counter() - started < 3
    message = str(caught.value)
    assert "\n" not in message
    assert "--data-root" in message
    assert fake.module.PUBLISHED.files[0] in message


def test_a_data_root_without_the_files_is_refused(fake: Fake, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"are not in '.*'; give the folder that holds .* with --data-root"):
        open_source(fake.name, data_root=tmp_path, cache_dir=tmp_path / "cache")


def test_a_damaged_archive_is_refused_and_not_fetched_again(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expect_archives(fake, dict.fromkeys(fake.archives, "http://127.0.0.1:9/"), monkeypatch)
    damaged = {file: content[:-1] for file, content in fake.archives.items()}
    with pytest.raises(UserError, match=r"is damaged or another version; remove it, or .* --data-root"):
        open_source(fake.name, data_root=fake.lie_in(tmp_path, damaged), cache_dir=tmp_path / "cache")


def test_a_damaged_file_is_refused(fake: Fake, tmp_path: Path) -> None:
    damaged = {file: content[:-1] for file, content in fake.files.items()}
    source = open_source(fake.name, data_root=fake.lie_in(tmp_path, damaged), cache_dir=tmp_path / "cache")
    with pytest.raises(UserError, match=r"cannot be read: .*--data-root"):
        assert source.names


def test_the_fingerprint_is_of_the_content_and_needs_no_loading(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selfsup.data.sources._torchvision._load", lambda *args: pytest.fail("was loaded"))
    prints = [
        open_source(fake.name, data_root=fake.lie_in(tmp_path / name), cache_dir=tmp_path / "cache").fingerprint()
        for name in "ab"
    ]
    assert prints[0] == prints[1]
    file = next(iter(fake.files))
    (tmp_path / "b" / file).write_bytes(fake.files[file][::-1])
    changed = open_source(fake.name, data_root=tmp_path / "b", cache_dir=tmp_path / "cache").fingerprint()
    assert changed != prints[0]


def test_the_sums_and_addresses_are_those_of_torchvision() -> None:
    datasets: Any = torchvision.datasets
    for module, loader in ((cifar10, datasets.CIFAR10), (cifar100, datasets.CIFAR100), (stl10, datasets.STL10)):
        (archive,) = module.PUBLISHED.archives
        assert (archive.file, archive.url, archive.md5) == (loader.filename, loader.url, loader.tgz_md5)
    for archive, (file, wanted) in zip(fashion_mnist.PUBLISHED.archives, datasets.FashionMNIST.resources, strict=True):
        assert archive.url == datasets.FashionMNIST.mirrors[0] + file
        assert archive.md5 == wanted
