"""MLflow: what was logged, read back by its own client."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tracked import CELLS, CellRecord, forget, log_to

from selfsup.record.folder import StudyFolder

for package in ("mlflow", "sqlalchemy", "alembic"):
    pytest.importorskip(package, reason=f"no {package}; `make test-track` installs it")

TRACKER = "mlflow"


def client(folder: StudyFolder) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{folder.path / 'tracking' / 'mlflow' / 'mlflow.db'}")


def runs(read: Any, study: str) -> dict[str, Any]:
    """The study's runs by name; fails if two have the same."""
    found = read.search_runs([read.get_experiment_by_name(study).experiment_id])
    by_name = {run.info.run_name: run for run in found}
    assert len(by_name) == len(found)
    return by_name


def files(read: Any, run: Any) -> set[str]:
    return {file.path for file in read.list_artifacts(run.info.run_id)}


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_curves_metrics_and_files_are_those_of_the_cell(logged: StudyFolder, cell: str) -> None:
    record, read = CellRecord(logged.cells / cell), client(logged)
    run = runs(read, logged.path.name)[cell]
    history = {name: read.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    record.check_curves({name: [(point.step, point.value) for point in points] for name, points in history.items()})
    record.check_metrics(run.data.metrics)
    assert files(read, run) == record.files - {"backbone.safetensors"}
    assert run.info.status == "FINISHED"


def test_files_are_kept_byte_for_byte(logged: StudyFolder, tmp_path: Path) -> None:
    read = client(logged)
    run = runs(read, logged.path.name)["random-test_resnet-n5-s0"]
    for name in ("tsne.png", "embeddings.npz"):
        kept = read.download_artifacts(run.info.run_id, name, str(tmp_path))
        assert Path(kept).read_bytes() == (logged.cells / "random-test_resnet-n5-s0" / name).read_bytes()


def test_parameters_name_the_place_in_the_grid_and_all_that_changes_numbers(logged: StudyFolder) -> None:
    parameters = runs(client(logged), logged.path.name)["supervised-test_resnet-weak-lr1e+30-n5-s0"].data.params
    expected = {"method": "supervised", "augmentation": "weak", "lr": "1e+30", "per_class": "5", "status": "diverged"}
    assert parameters.items() >= {**expected, "study/epochs": "3", "study/backbone": "test_resnet"}.items()
    assert "study/workers" not in parameters


def test_weights_are_logged_where_they_are_asked_for(folder: StudyFolder) -> None:
    log_to(TRACKER, folder, weights=True)
    read = client(folder)
    assert "backbone.safetensors" in files(
        read, runs(read, folder.path.name)["supervised-test_resnet-weak-lr0.03-n5-s0"]
    )


def test_a_cell_that_was_cut_short_is_logged_in_place_of_what_was_left(folder: StudyFolder) -> None:
    log_to(TRACKER, folder)
    before = runs(client(folder), folder.path.name)
    forget(folder, TRACKER, "random-test_resnet-n5-s0")
    log_to(TRACKER, folder)
    after = runs(client(folder), folder.path.name)
    assert set(after) == CELLS
    changed = {name for name in CELLS if before[name].info.run_id != after[name].info.run_id}
    assert changed == {"random-test_resnet-n5-s0"}


def test_another_store_gets_all_cells_and_the_process_keeps_its_own(
    folder: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    log_to(TRACKER, folder)
    assert "MLFLOW_TRACKING_URI" not in os.environ
    address = f"sqlite:///{tmp_path / 'shared.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.chdir(tmp_path)  # where MLflow puts the files of a bare database
    lines = log_to(TRACKER, folder)
    assert lines[-1] == f"mlflow: 3 cells logged; see them at {address}"
    assert set(runs(mlflow.MlflowClient(address), folder.path.name)) == CELLS
    assert os.environ["MLFLOW_TRACKING_URI"] == mlflow.get_tracking_uri() == address
    mlflow.set_tracking_uri(None)


def test_a_password_in_the_address_is_neither_kept_nor_shown(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from selfsup.report.trackers.mlflow import tracker

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@tracking.example/path@1")
    assert tracker.store(folder.path) == "https://tracking.example/path@1"
    assert "secret" not in tracker.hint(folder.path)


def test_a_server_that_does_not_answer_is_told_once(folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (line,) = [line for line in log_to(TRACKER, folder) if "waiting" not in line]
    assert line.startswith("mlflow could not log a cell (")
    assert line.endswith("; the study goes on, and the same command logs what is missing.")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    log_to(TRACKER, folder)
    assert set(runs(client(folder), folder.path.name)) == CELLS
