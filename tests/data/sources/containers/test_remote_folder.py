"""A folder at an address: on S3's kind of server, and on what fsspec has on this machine."""

from __future__ import annotations

from pathlib import Path

import fsspec
import numpy as np
import pytest
from tests.data.sources.containers.photos import FOLDERS, pixels, png
from tests.s3_server import Server, server

from selfsup.data.build import prepare_store
from selfsup.data.items import Item
from selfsup.data.sources import open_source
from selfsup.errors import UserError

__all__ = ["server"]


@pytest.fixture
def memory() -> str:
    fs = fsspec.filesystem("memory")
    for name, content in FOLDERS.items():
        fs.pipe(f"/photos/{name}", content)
    yield "memory://photos/"
    fs.rm("/photos", recursive=True)


def test_its_folders_are_classes(memory: str) -> None:
    source = open_source(memory)
    assert source.name == "photos"
    assert list(source.items) == [Item(name, name[0]) for name in sorted(FOLDERS)]
    with source.open(4) as image:
        assert np.array_equal(np.asarray(image), pixels(10))


def test_a_file_address_is_the_folder(tmp_path: Path) -> None:
    for name, content in FOLDERS.items():
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_bytes(content)
    assert list(open_source(f"file://{tmp_path}/d").items) == list(open_source(str(tmp_path / "d")).items)


def test_images_are_read_from_s3_into_the_store_and_only_listed_the_second_time(server: Server, tmp_path: Path) -> None:
    for name, content in FOLDERS.items():
        server.client.put_object(Bucket="studies", Key=f"photos/{name}", Body=content)
    source = open_source("s3://studies/photos")
    store = prepare_store(source, store_size=16, cache_dir=tmp_path)
    assert store.names == tuple(sorted(FOLDERS))
    assert np.array_equal(store.image(5), pixels(11))
    again = open_source("s3://studies/photos")
    again.open = lambda index: pytest.fail("was read again")  # type: ignore[method-assign]
    assert prepare_store(again, store_size=16, cache_dir=tmp_path).path == store.path
    server.client.put_object(Bucket="studies", Key="photos/a/0.png", Body=png(99))
    assert open_source("s3://studies/photos").fingerprint() != source.fingerprint()


def test_what_cannot_be_had_is_one_sentence(memory: str, server: Server) -> None:
    with pytest.raises(UserError, match=r"There is no folder of files at 'memory://nothing'; check the address"):
        open_source("memory://nothing")
    with pytest.raises(UserError, match=r"^nonsense://a cannot be opened \("):
        open_source("nonsense://a")
    with pytest.raises(UserError, match=r"'s3://no-such-bucket/photos' cannot be listed|There is no folder of"):
        open_source("s3://no-such-bucket/photos")


def test_an_image_that_does_not_arrive_ends_the_reading(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, kind = open_source(memory), type(fsspec.filesystem("memory"))
    cat_file = kind.cat_file

    def unreachable(self: object, path: str, *options: object) -> bytes:
        if path.endswith("b/1.png"):
            raise TimeoutError("no route")
        return cat_file(self, path, *options)

    monkeypatch.setattr(kind, "cat_file", unreachable)
    with pytest.raises(UserError, match=r"'memory://photos/b/1\.png' cannot be read \(no route\); check the address"):
        prepare_store(source, store_size=16, cache_dir=tmp_path)
    monkeypatch.setattr(kind, "cat_file", cat_file)
    assert prepare_store(source, store_size=16, cache_dir=tmp_path).names == tuple(sorted(FOLDERS))
