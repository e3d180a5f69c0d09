"""Writes a cell into the record: its row, its files, and why it has no scores where it has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.config.grid import Cell
from selfsup.evaluation.evaluators.probe import CellEvaluation
from selfsup.execution.artifacts import cell_files, training_files
from selfsup.execution.context import StudyContext
from selfsup.methods import Method
from selfsup.record.results import PRUNED, CellResult
from selfsup.training.diagnostics import COLLAPSED_BELOW, collapse_epoch
from selfsup.training.loop import Outcome, Progress

#: What usually makes a collapse, for the cell's message.
CAUSES = "a learning rate that is too high, a batch that is too small, or views that have too little in common"


@dataclass(frozen=True)
class Found:
    """What is to be recorded of a judged cell: its training, scores at rungs, evaluation, and further columns."""

    outcome: Outcome
    rung_scores: Mapping[int, float]
    evaluation: CellEvaluation
    further: Mapping[str, float]


def publish(
    study: StudyContext, cell: Cell, method: Method, found: Found, probe_images: int, weights: Mapping[str, Path]
) -> CellResult:
    evaluation, progress = found.evaluation, found.outcome.progress
    collapsed = method.traits.trains and evaluation.columns["embedding_std"] < COLLAPSED_BELOW
    result = CellResult.of(
        cell,
        "collapsed" if collapsed else "done",
        **_training_columns(progress),
        **evaluation.columns,
        **found.further,
        train_images=probe_images,
        message=_collapse_message(progress) if collapsed else None,
    )
    extras = _rungs(found.rung_scores)
    if evaluation.scores is not None:
        extras["few_shot"] = [asdict(shot) for shot in evaluation.few_shot]
        extras["confusion"] = evaluation.scores.confusion.tolist()
    files = cell_files(study, cell, found.outcome, evaluation)
    study.folder.write_cell(result, files, extras, shared=weights)
    return result


def _collapse_message(progress: Progress) -> str:
    epoch = collapse_epoch([line.embedding_std for line in progress.log])
    # Batch normalisation can pull the images of a batch apart again, which single images do not have.
    when = f"from epoch {epoch} on" if epoch else "in evaluation mode, though not within a training batch"
    return f"the embedding collapsed: all images have nearly the same, {when}; usual causes are {CAUSES}"


def publish_diverged(study: StudyContext, cell: Cell, outcome: Outcome, rung_scores: Mapping[int, float]) -> CellResult:
    epoch = outcome.progress.log[-1].epoch
    message = f"the loss was not finite in epoch {epoch}; a smaller learning rate would help"
    result = _training_result(study, cell, "diverged", outcome, message=message)
    study.folder.write_cell(result, training_files(study, cell, outcome), _rungs(rung_scores))
    return result


def publish_pruned(study: StudyContext, cell: Cell, outcome: Outcome, rung_scores: Mapping[int, float]) -> CellResult:
    epochs = len(outcome.progress.log)
    message = f"stopped early by {study.config.scheduler} after {epochs} of {study.config.epochs} epochs"
    result = _training_result(study, cell, PRUNED, outcome, rung_score=rung_scores[epochs], message=message)
    study.folder.write_cell(result, training_files(study, cell, outcome), _rungs(rung_scores))
    return result


def _training_result(study: StudyContext, cell: Cell, status: str, outcome: Outcome, **columns: Any) -> CellResult:
    """The row of a cell that is not judged."""
    images = len(study.subset(cell))
    return CellResult.of(cell, status, **_training_columns(outcome.progress), train_images=images, **columns)


def _rungs(scores: Mapping[int, float]) -> dict[str, Any]:
    """What schedulers decide by, for the cell's ``metrics.json``."""
    return {"rung_scores": {str(epoch): score for epoch, score in scores.items()}} if scores else {}


def _training_columns(progress: Progress) -> dict[str, Any]:
    if not progress.log:
        return {}
    rates = [line.images_per_second for line in progress.log]
    return {
        "epochs": len(progress.log),
        "final_loss": progress.log[-1].loss,
        "train_seconds": progress.seconds,
        "images_per_second": float(np.median(rates)),
    }
