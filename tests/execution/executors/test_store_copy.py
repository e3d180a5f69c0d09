"""A node that does not see the decoded images gets its own copy of them, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from selfsup.data.build import prepare_store
from selfsup.data.sources import open_source
from selfsup.data.store import Store
from selfsup.execution.executors import _store_copy
from selfsup.execution.executors._store_copy import StoreReader, store_on_this_node


@pytest.fixture
def original(tmp_path: Path) -> Store:
    return prepare_store(open_source("digits"), store_size=64, cache_dir=tmp_path / "here")


@pytest.fixture
def read(original: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Names of the files that were read, a piece at a time; the cache is that of another machine."""
    monkeypatch.setenv("SELFSUP_CACHE", str(tmp_path / "node"))
    monkeypatch.setattr(_store_copy, "PIECE", 10_000)
    return []


def copy(original: Store, read: list[str]) -> Store:
    reader = StoreReader(str(original.path))

    def piece(name: str, offset: int) -> bytes:
        read.append(name)
        return reader.read(name, offset)

    return store_on_this_node(original.path, reader.files, piece)


def test_the_copy_is_equal_and_made_in_pieces(original: Store, read: list[str], tmp_path: Path) -> None:
    found = copy(original, read)
    assert found.path.is_relative_to(tmp_path / "node")
    assert read.count("pixels.bin") > 10
    for path in original.path.iterdir():
        assert (found.path / path.name).read_bytes() == path.read_bytes()


def test_a_second_cell_on_the_node_finds_the_copy(original: Store, read: list[str]) -> None:
    copy(original, read)
    read.clear()
    assert len(copy(original, read)) == len(original)
    assert read == []


def test_what_a_dead_node_left_half_copied_is_copied_again(original: Store, read: list[str], tmp_path: Path) -> None:
    half = tmp_path / "node" / "copies" / original.path.name
    half.mkdir(parents=True)
    (half / "pixels.bin").write_bytes(b"half")
    assert len(copy(original, read)) == len(original)
