"""Weights & Biases: parameters, curves, pictures and files, offline unless WANDB_MODE says otherwise."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from selfsup.report.trackers.base import FinishedCell

if TYPE_CHECKING:
    from wandb import Artifact, Run

# A study asks nothing of the network; whoever sets this is heard.
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")


class WandbTracker:
    """A run for every cell, in a group for every study."""

    packages = ("wandb", "pytorch_lightning.loggers")

    def store(self, home: Path) -> str:
        return "local" if _mode() == "offline" else f"{_mode()}: {_project()}"

    def log(self, cell: FinishedCell, home: Path) -> None:
        from pytorch_lightning.loggers import WandbLogger

        for attempt in (home / "wandb").glob(f"*run-*-{cell.key}"):
            shutil.rmtree(attempt)
        with _begin(cell, home) as run:
            logger = WandbLogger(experiment=run)
            logger.log_hyperparams(cell.parameters)
            for point in cell.curve:
                logger.log_metrics(point.values, point.epoch)
            logger.log_metrics(cell.metrics, cell.last_epoch)
            for path in cell.pictures:
                logger.log_image(path.stem, [str(path)], cell.last_epoch)
            run.log_artifact(_artifact(cell))

    def hint(self, home: Path) -> str:
        if _mode() != "offline":
            return f"see them in the project '{_project()}'"
        return f"upload them with: wandb sync {shlex.quote(str(home / 'wandb'))}/offline-run-*"


tracker = WandbTracker()


def _mode() -> str:
    mode = os.environ.get("WANDB_MODE", "offline")
    return "offline" if mode == "dryrun" else mode  # the older name, which Lightning still sets


def _project() -> str:
    return os.environ.get("WANDB_PROJECT", "selfsup")


def _begin(cell: FinishedCell, home: Path) -> Run:
    """A run of its own, whatever run the calling program has open."""
    import wandb

    run = wandb.init(
        id=cell.key,
        name=cell.id,
        group=cell.study,
        project=_project(),
        dir=home,
        mode=_mode(),  # type: ignore[arg-type]
        resume=None if _mode() == "offline" else "allow",
        reinit="create_new",
        # What W&B would watch is this process, which only logs.
        settings=wandb.Settings(
            silent=True, console="off", disable_git=True, disable_code=True, x_disable_stats=True, x_disable_meta=True
        ),
    )
    # As Lightning does for a run that it begins itself: the epoch is the axis of every curve.
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return run


def _artifact(cell: FinishedCell) -> Artifact:
    """The cell's files, by reference: a finished cell is never changed, so W&B needs no copy."""
    import wandb

    artifact = wandb.Artifact(re.sub(r"[^\w.-]", "_", cell.id), type="cell")
    for path in cell.files:
        artifact.add_file(str(path), policy="immutable")
    return artifact
