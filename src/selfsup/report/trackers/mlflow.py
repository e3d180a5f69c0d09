"""MLflow: parameters, curves and files in a SQLite database, or on the server that MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from selfsup.report.trackers.base import FinishedCell

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: The variable that names the server, as in every other program that uses MLflow.
SERVER = "MLFLOW_TRACKING_URI"
#: The tag by which a run of an earlier attempt is found.
KEY_TAG = "selfsup.key"

# A study asks nothing of the network, and its standard output is the answer; whoever sets these is heard.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")


class MlflowTracker:
    """A run for every cell, in an experiment for every study."""

    packages = ("mlflow", "sqlalchemy", "alembic", "pytorch_lightning.loggers")

    def store(self, home: Path) -> str:
        return re.sub("//[^/]*@", "//", _server() or "local")

    def log(self, cell: FinishedCell, home: Path) -> None:
        from mlflow import MlflowClient
        from pytorch_lightning.loggers import MLFlowLogger

        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it announces every new database
        address = _address(home)
        _replace_earlier_attempt(MlflowClient(address), cell, home)
        with _global_address_kept():
            logger = MLFlowLogger(cell.study, cell.id, address, tags={KEY_TAG: cell.key})
            logger.log_hyperparams(cell.parameters)
        for point in cell.curve:
            logger.log_metrics(point.values, point.epoch)
        logger.log_metrics(cell.metrics, cell.last_epoch)
        for path in cell.files:
            logger.experiment.log_artifact(logger.run_id, str(path))
        logger.finalize("success")

    def hint(self, home: Path) -> str:
        if _server():
            return f"see them at {self.store(home)}"
        return f"see them with: mlflow ui --backend-store-uri {shlex.quote(_address(home))}"


tracker = MlflowTracker()


def _server() -> str | None:
    return os.environ.get(SERVER) or None


def _address(home: Path) -> str:
    return _server() or f"sqlite:///{(home / 'mlflow.db').as_posix()}"


def _replace_earlier_attempt(client: MlflowClient, cell: FinishedCell, home: Path) -> None:
    """Find or make the study's experiment, and delete the cell's run if it has one."""
    experiment = client.get_experiment_by_name(cell.study)
    if experiment is None:
        # A server knows where files go; for a mere database, MLflow would take the current folder.
        client.create_experiment(cell.study, None if _server() else (home / "files").as_uri())
        return
    for run in client.search_runs([experiment.experiment_id], f"tags.`{KEY_TAG}` = '{cell.key}'"):
        client.delete_run(run.info.run_id)


@contextlib.contextmanager
def _global_address_kept() -> Iterator[None]:
    """Undo that Lightning makes its logger's address the process's own, environment included."""
    import mlflow

    before = _server()
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]
