"""Data sets read by torchvision's loaders, from small files in the real formats."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision
from range_server import Served, serve

from published_copies import FAKES, TEST, TRAIN, Fake, md5
from selfsup.data.items import ItemTable
from selfsup.data.sources import cifar10, cifar100, fashion_mnist, open_source, stl10
from selfsup.data.sources._torchvision import Archive
from selfsup.data.sources.base import Source
from selfsup.data.split import split_images
from selfsup.errors import UserError


@pytest.fixture(params=FAKES)
def fake(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Fake:
    return FAKES[request.param](monkeypatch)


def expect_archives(fake: Fake, urls: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the source look for the fake's archives at `urls`, by path below the root."""
    archives = tuple(Archive(file, urls[file], md5(content)) for file, content in fake.archives.items())
    monkeypatch.setattr(fake.module, "PUBLISHED", replace(fake.module.PUBLISHED, archives=archives))


def assert_same(source: Source, fake: Fake) -> None:
    assert [item.label for item in source.items] == fake.labels
    pixels = np.stack([np.asarray(source.open(index)) for index in range(len(source.items))])
    assert np.array_equal(pixels, fake.pixels)


def test_files_in_data_root_are_read_with_their_official_test(fake: Fake, tmp_path: Path) -> None:
    source = open_source(fake.name, data_root=fake.lie_in(tmp_path / "root"), cache_dir=tmp_path / "cache")
    assert_same(source, fake)
    assert [item.split for item in source.items] == ["train"] * TRAIN + ["test"] * TEST
    assert source.items[0].name == f"{fake.name}/00"
    assert len({item.name for item in source.items}) == TRAIN + TEST
    items = ItemTable.of(source.items)
    split = split_images(items.labels, val_fraction=0.1, test_fraction=0.2, seed=0, given=items.sides)
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


def test_offline_it_fails_in_one_sentence_that_names_the_files_and_data_root(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/x"
        expect_archives(fake, dict.fromkeys(fake.archives, url), monkeypatch)
        with pytest.raises(UserError) as caught:
            open_source(fake.name, cache_dir=tmp_path)
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
        assert source.items


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
