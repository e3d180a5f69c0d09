"""Weights & Biases: what was logged offline, read back in W&B's own format.

Its client reads values back from a server only, so they are decoded from the run's file: a LevelDB log of the
protocol buffers in W&B's package.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tracked import CELLS, CellRecord, forget, log_to

from selfsup.record.folder import StudyFolder

wandb = pytest.importorskip("wandb", reason="no wandb; `make test-track` installs it")

TRACKER = "wandb"
BLOCK, HEADER = 32768, 7  # of a LevelDB log; W&B's file begins with 7 bytes of its own
FULL, LAST = 1, 4


class OfflineRun:
    """One run in W&B's folder."""

    def __init__(self, place: Path) -> None:
        from wandb.proto.wandb_internal_pb2 import Record

        (file,) = place.glob("*.wandb")
        records = [Record.FromString(data) for data in _records(file.read_bytes())]
        self.place = place
        (self.run,) = (record.run for record in records if record.HasField("run"))
        self.config = _values(i for record in records for i in record.config.update)
        self.history = [_values(record.history.item) for record in records if record.HasField("history")]
        self.files = {
            entry.path: Path(entry.local_path) for record in records for entry in record.artifact.manifest.contents
        }
        self.ended = records[-1].HasField("exit")

    def values(self, name: str) -> list[tuple[int, Any]]:
        return [(row["trainer/global_step"], row[name]) for row in self.history if name in row]

    def picture(self, name: str) -> tuple[int, int]:
        ((_, value),) = self.values(name)
        (file,) = value["filenames"]
        return Image.open(self.place / "files" / file).size


def _records(data: bytes) -> Iterator[bytes]:
    assert data.startswith(b":W&B")
    at, record = HEADER, b""
    while at < len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + HEADER])
        record += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (FULL, LAST):
            yield record
            record = b""


def _values(items: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for item in items:
        *parents, name = item.nested_key or [item.key]
        inner = values
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[name] = json.loads(item.value_json)
    return values


def runs(folder: StudyFolder) -> dict[str, OfflineRun]:
    """The offline runs by name; fails if two have the same."""
    found = [OfflineRun(p) for p in (folder.path / "tracking" / "wandb" / "wandb").glob("offline-run-*")]
    by_name = {run.run.display_name: run for run in found}
    assert len(by_name) == len(found)
    return by_name


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_curves_metrics_pictures_and_files_are_those_of_the_cell(logged: StudyFolder, cell: str) -> None:
    record, run = CellRecord(logged.cells / cell), runs(logged)[cell]
    names = {name for row in run.history for name in row}
    record.check_curves({name: run.values(name) for name in names if name.startswith("train/")})
    record.check_metrics(
        {name: run.values(name)[-1][1] for name in names if isinstance(run.values(name)[-1][1], float | int)}
    )
    assert {name: run.picture(name) for name in record.pictures} == record.pictures
    assert set(run.files) == record.files - {"backbone.safetensors"}
    assert all(path.samefile(logged.cells / cell / name) for name, path in run.files.items())
    assert run.ended
    assert (run.run.run_group, run.run.project) == (logged.path.name, "selfsup")


def test_parameters_name_the_place_in_the_grid_and_all_that_changes_numbers(logged: StudyFolder) -> None:
    config = runs(logged)["supervised-test_resnet-weak-lr0.03-n5-s0"].config
    assert (config["method"], config["lr"], config["per_class"], config["status"]) == ("supervised", 0.03, 5, "done")
    assert config["study"]["epochs"] == 3
    assert "workers" not in config["study"]


def test_wandb_itself_finds_the_runs_and_would_upload_them(logged: StudyFolder, tmp_path: Path) -> None:
    places = (logged.path / "tracking" / TRACKER / "wandb").glob("offline-run-*")
    command = [sys.executable, "-m", "wandb", "sync", "--dry-run", *map(str, places)]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"Would sync {len(CELLS)} run(s)" in shown.stdout + shown.stderr


def test_weights_are_logged_where_they_are_asked_for(folder: StudyFolder) -> None:
    log_to(TRACKER, folder, weights=True)
    assert "backbone.safetensors" in runs(folder)["supervised-test_resnet-weak-lr0.03-n5-s0"].files


def test_a_cell_that_was_cut_short_is_logged_in_place_of_what_was_left(folder: StudyFolder) -> None:
    log_to(TRACKER, folder)
    forget(folder, TRACKER, "random-test_resnet-n5-s0")
    log_to(TRACKER, folder)
    assert set(runs(folder)) == CELLS


def test_a_run_of_the_calling_program_is_left_alone(folder: StudyFolder, tmp_path: Path) -> None:
    settings = wandb.Settings(silent=True, console="off")
    with wandb.init(mode="offline", dir=tmp_path, project="mine", settings=settings) as own:
        log_to(TRACKER, folder)
        assert wandb.run is own
        assert not {"method", "study"} & set(dict(own.config))
    assert set(runs(folder)) == CELLS
