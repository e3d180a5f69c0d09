"""Data sets of Hugging Face: as `datasets` saves them, as the hub has them, and as others write Parquet."""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.data.sources.containers.photos import pixels, png

from selfsup.data.build import prepare_store
from selfsup.data.items import Item
from selfsup.data.sources import open_source
from selfsup.errors import UserError

datasets = pytest.importorskip("datasets")


def rows(start: int, labels: list[int]) -> Any:
    """A data set as its library makes it."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee"])})
    cells = [{"bytes": png(start + number), "path": None} for number in range(len(labels))]
    return datasets.Dataset.from_dict({"image": cells, "label": labels}, features=features)


def save_parquet(path: Path, start: int, labels: list[int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows(start, labels).to_parquet(path)
    return path


def test_a_saved_data_set_has_its_classes_by_name(tmp_path: Path) -> None:
    rows(0, [0, 1, -1]).save_to_disk(tmp_path / "insects")
    source = open_source(str(tmp_path / "insects"))
    (name,) = {item.name.rpartition("/")[0] for item in source.items}
    assert list(source.items) == [Item(f"{name}/0", "ant"), Item(f"{name}/1", "bee"), Item(f"{name}/2", None)]
    with source.open(1) as image:
        assert np.array_equal(np.asarray(image), pixels(1))


def test_its_splits_are_given(tmp_path: Path) -> None:
    datasets.DatasetDict(train=rows(0, [0, 1]), validation=rows(2, [1]), test=rows(3, [0])).save_to_disk(tmp_path / "d")
    items = open_source(str(tmp_path / "d")).items
    assert sorted((item.split, item.label) for item in items) == [
        ("test", "ant"), ("train", "ant"), ("train", "bee"), ("val", "bee")
    ]  # fmt: skip
    assert {item.split for item in open_source(str(tmp_path / "d"), no_given_split=True).items} == {None}


def test_parquet_files_as_the_hub_has_them_read_group_by_group(tmp_path: Path) -> None:
    table = rows(0, [0, 1] * 10).data.table
    (tmp_path / "d/data").mkdir(parents=True)
    pq.write_table(table, tmp_path / "d/data/train-00000-of-00002.parquet", row_group_size=3)
    save_parquet(tmp_path / "d/data/train-00001-of-00002.parquet", 20, [0])
    source = open_source(str(tmp_path / "d"))
    store = prepare_store(source, store_size=16, cache_dir=tmp_path / "cache", threads=4)
    assert all(np.array_equal(store.image(number), pixels(number)) for number in range(21))
    assert store.names[20] == "data/train-00001-of-00002.parquet/0"


def test_tables_of_others_are_known_by_their_columns(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2, 3], "photo": [png(0), png(1), png(2)], "label": ["x", "y", None]})
    (tmp_path / "d").mkdir()
    pq.write_table(table, tmp_path / "d/a.parquet")
    assert [item.label for item in open_source(str(tmp_path / "d")).items] == ["x", "y", None]
    pq.write_table(table.drop(["photo"]), tmp_path / "d/a.parquet")
    with pytest.raises(UserError, match=r"has no column of images \(it has id, label\)"):
        open_source(str(tmp_path / "d"))


def test_lists_of_labels_are_several_labels_and_what_is_no_number_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()

    def labels(column: Any) -> list[Any]:
        table = pa.table({"image": [png(number) for number in range(4)], "label": column})
        pq.write_table(table, tmp_path / "d/a.parquet")
        return [item.label for item in open_source(str(tmp_path / "d")).items]

    assert labels([["y", "x"], ["y"], [], None]) == [("x", "y"), ("y",), None, None]
    assert labels([["y"], ["x"], [], None]) == ["y", "x", None, None]
    assert labels([1.0, float("nan"), 0.0, None]) == ["1.0", None, "0.0", None]
    for vectors in ([[0.5, 1.0]] * 4, [{"x": 1}] * 4):
        with pytest.raises(UserError, match=r"The column 'label' of '.*' holds .*, of which no class can be made; ren"):
            labels(vectors)
    assert labels([[0, 1], [1], [0], None]) == [("0", "1"), ("1",), ("0",), None]
    with pytest.raises(UserError, match=r"'label' of 'd' says of each of 3 labels whether an image has it \(0 or 1\)"):
        labels([[0, 1, 0], [1, 1, 0], [0, 0, 1], None])
    with pytest.raises(UserError, match="has the label 'x;y', and ';' parts labels; rename it"):
        labels([["x;y", "z"], [], [], []])


def test_classes_of_lists_have_their_names(tmp_path: Path) -> None:
    kind = datasets.Sequence(datasets.ClassLabel(names=["bee", "ant"]))
    cells = [{"bytes": png(number), "path": None} for number in range(2)]
    features = datasets.Features({"image": datasets.Image(), "tags": kind, "labels": kind})
    columns = {"image": cells, "tags": [[0], [0]], "labels": [[0, 1], [-1, 1]]}
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(tmp_path / "d")
    assert [item.label for item in open_source(str(tmp_path / "d")).items] == [("ant", "bee"), ("ant",)]


def test_another_export_of_the_same_size_is_other_data(tmp_path: Path) -> None:
    def export(first: int) -> tuple[str, int]:
        cells = [np.random.default_rng(first + number).bytes(300) for number in range(3)]
        (tmp_path / "d").mkdir(exist_ok=True)
        pq.write_table(pa.table({"image": cells}), tmp_path / "d/a.parquet", compression=None, use_dictionary=False)
        os.utime(tmp_path / "d/a.parquet", (1, 1))
        return open_source(str(tmp_path / "d")).fingerprint(), (tmp_path / "d/a.parquet").stat().st_size

    first, second, again = export(0), export(10), export(0)
    assert first[1] == second[1]
    assert first[0] == again[0] != second[0]


def test_a_table_of_paths_above_deep_folders_is_no_data_set(tmp_path: Path) -> None:
    names = [f"2021/{label}/left/{number}.png" for label in "ab" for number in range(2)]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(0))
    pq.write_table(pa.table({"path": names, "label": list("abab")}), tmp_path / "images.parquet")
    assert [item.label for item in open_source(str(tmp_path)).items] == list("aabb")
    listed = open_source(str(tmp_path), manifest=tmp_path / "images.parquet")
    assert [item.label for item in listed.items] == list("abab")


def test_what_a_system_leaves_beside_tables_is_passed_over(tmp_path: Path) -> None:
    save_parquet(tmp_path / "d/a.parquet", 0, [0, 1])
    (tmp_path / "d/._a.parquet").write_bytes(b"Mac OS X")
    assert len(open_source(str(tmp_path / "d")).items) == 2


def test_which_of_several_columns_is_taken_is_said(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    pq.write_table(pa.table({"a": [png(0)], "b": [png(1)], "label": ["x"]}), tmp_path / "d/a.parquet")
    said: list[str] = []
    open_source(str(tmp_path / "d"), say=said.append)
    (line,) = said
    assert line.endswith("d': tables with images in the column 'a' (others: b) and classes in the column 'label'.")


def test_a_path_in_a_table_is_never_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(0))
    (tmp_path / "d").mkdir()
    cells = [{"bytes": None, "path": str(tmp_path / "secret.png")}, {"bytes": png(1), "path": None}]
    pq.write_table(pa.table({"image": cells}), tmp_path / "d/a.parquet")
    store = prepare_store(open_source(str(tmp_path / "d")), store_size=16, cache_dir=tmp_path / "cache")
    assert store.names == ("a.parquet/1",)
    assert [entry.detail for entry in store.audit if entry.problem == "unreadable"] == [
        f"its file '{tmp_path / 'secret.png'}' is not in the data set"
    ]


def test_a_damaged_table_is_one_sentence(tmp_path: Path) -> None:
    path = save_parquet(tmp_path / "d/a.parquet", 0, [0, 1])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"a\.parquet' cannot be read as a table \(.*\); get it anew"):
        open_source(str(tmp_path / "d"))


def test_several_configurations_are_refused(tmp_path: Path) -> None:
    for name in ("small", "large"):
        save_parquet(tmp_path / "d" / name / "train-0.parquet", 0, [0])
    with pytest.raises(UserError, match=r"has several configurations \(large, small\); give the folder of one"):
        open_source(str(tmp_path / "d"))


@pytest.fixture
def hub(tmp_path: Path, hub_at: Callable[[str], None]) -> Iterator[dict[str, bytes]]:
    """A hub of one data set, by the paths of its files."""
    files: dict[str, bytes] = {}
    commit = "a" * 40

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.wfile.write(self.answer())

        def answer(self) -> bytes:
            path = self.path.partition("?")[0]
            known: dict[str, bytes] = {
                f"/datasets/us/insects/resolve/{commit}/{name}": content for name, content in files.items()
            }
            if files:
                about = {"id": "us/insects", "sha": commit, "siblings": [{"rfilename": name} for name in files]}
                tree = [{"type": "file", "path": n, "size": len(c), "oid": "b" * 40} for n, c in files.items()]
                known["/api/datasets/us/insects/revision/main"] = json.dumps(about).encode()
                known[f"/api/datasets/us/insects/tree/{commit}"] = json.dumps(tree).encode()
                known["/api/datasets/us/insects/tree/main"] = json.dumps(tree).encode()
            found = known.get(path)
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(found or b"")))
            self.send_header("ETag", f'"{hash(found) & 0xFFFFFF:x}"')
            self.send_header("X-Repo-Commit", commit)
            self.end_headers()
            return found or b""

        def log_message(self, *args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    hub_at(f"http://127.0.0.1:{server.server_port}")
    yield files
    server.shutdown()
    server.server_close()


def test_a_data_set_of_the_hub_is_downloaded_once(hub: dict[str, bytes], tmp_path: Path) -> None:
    hub["data/train-0.parquet"] = save_parquet(tmp_path / "a.parquet", 0, [0, 1]).read_bytes()
    hub["data/test-0.parquet"] = save_parquet(tmp_path / "b.parquet", 2, [1]).read_bytes()
    hub["README.md"] = b"about"
    source = open_source("hf:us/insects")
    assert source.name == "insects"
    assert [(item.label, item.split) for item in source.items] == [("bee", "test"), ("ant", "train"), ("bee", "train")]
    assert not list((tmp_path / "hub").rglob("README.md"))


def test_one_that_cannot_be_had_is_one_sentence(hub: dict[str, bytes]) -> None:
    with pytest.raises(UserError, match=r"The data set 'us/nothing' cannot be had from the Hugging Face hub \(\w+\)"):
        open_source("hf:us/nothing")
