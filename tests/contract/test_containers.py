"""Every kind of container gives sources that keep the contract, and takes nothing else."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.data.sources.containers.photos import FOLDERS

from selfsup import registry
from selfsup.data.sources.containers import find_container
from selfsup.testing.sources import check_source


def zip_archive(root: Path) -> str:
    with zipfile.ZipFile(root / "photos.zip", "w") as archive:
        for name, content in FOLDERS.items():
            archive.writestr(name, content)
    return str(root / "photos.zip")


def tar_shards(root: Path) -> str:
    for number in range(2):
        with tarfile.open(root / f"shard-{number}.tar", "w") as archive:
            for name, content in FOLDERS.items():
                for suffix, text in ((".png", content), (".cls", name[:1].encode())):
                    member = tarfile.TarInfo(name.replace("/", "-").replace(".png", suffix))
                    member.size = len(text)
                    archive.addfile(member, io.BytesIO(text))
    return str(root)


def hugging_face(root: Path) -> str:
    cells = [{"bytes": content, "path": name} for name, content in FOLDERS.items()]
    for side in ("train", "test"):
        table = pa.table({"image": cells, "label": [name[:1] for name in FOLDERS]})
        pq.write_table(table, root / f"{side}-0.parquet", row_group_size=3)
    return str(root)


def remote_folder(root: Path) -> str:
    fs = fsspec.filesystem("memory")
    for name, content in FOLDERS.items():
        fs.pipe(f"/contract/{name}", content)
    return "memory://contract"


MAKERS: dict[str, Callable[[Path], str]] = {
    "zip-archive": zip_archive,
    "tar-shards": tar_shards,
    "hugging-face": hugging_face,
    "remote-folder": remote_folder,
}


@pytest.mark.parametrize("name", registry.names(registry.CONTAINER))
def test_a_container_keeps_the_contract(name: str, tmp_path: Path) -> None:
    assert name in MAKERS, "a new kind of container needs a maker of one here"
    kind, data = registry.load(registry.CONTAINER, name), MAKERS[name](tmp_path)
    assert find_container(data) is kind
    check_source(lambda options: kind.open_source(data, options))


def test_a_folder_of_images_is_none(tmp_path: Path) -> None:
    for name, content in FOLDERS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    for data in (str(tmp_path), str(tmp_path / "a/0.png"), str(tmp_path / "nothing.zip"), "digits"):
        assert find_container(data) is None


def test_a_folder_of_many_images_is_told_from_a_container_by_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(500):
        (tmp_path / f"{number}.png").touch()
    seen = []
    plain = os.path.splitext
    monkeypatch.setattr(os.path, "splitext", lambda name: seen.append(name) or plain(name))
    assert find_container(str(tmp_path)) is None
    assert len(seen) < 10
