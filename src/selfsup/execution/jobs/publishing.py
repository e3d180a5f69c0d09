"""Writes a cell into the record: its row, its files, and why it has no scores where it has none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.config.grid import Cell
from selfsup.evaluation.base import Evaluated
from selfsup.evaluation.evaluation_context import Part
from selfsup.execution.jobs.artifacts import cell_files, training_files
from selfsup.execution.jobs.context import StudyContext
from selfsup.methods import Method
from selfsup.record.results import PRUNED, CellResult
from selfsup.training.diagnostics import COLLAPSED_BELOW, EXPLODED_EMBEDDING, collapse_epoch
from selfsup.training.state import Outcome, TrainingState

#: What usually makes a collapse, for the cell's message.
CAUSES = "a learning rate that is too high, a batch that is too small, or views that have too little in common"


@dataclass(frozen=True)
class Found:
    """What is to be recorded of an evaluated cell: its training, scores at rungs, and evaluation of its test images."""

    outcome: Outcome
    rung_scores: Mapping[int, float]
    train_images: int
    test: Part
    evaluated: Evaluated


def publish(study: StudyContext, cell: Cell, method: Method, found: Found, weights: Mapping[str, Path]) -> CellResult:
    evaluated, state = found.evaluated, found.outcome.state
    collapsed = method.tags.trains and evaluated.values.get("embedding_std", math.nan) < COLLAPSED_BELOW
    result = CellResult.of(
        cell,
        "collapsed" if collapsed else "done",
        **_training_values(state),
        **evaluated.values,
        train_images=found.train_images,
        message=_collapse_message(state) if collapsed else None,
    )
    files = cell_files(study, cell, found.outcome, found.test, evaluated)
    study.folder.write_cell(result, files, {**_rungs(found.rung_scores), **evaluated.extras}, shared=weights)
    return result


def _collapse_message(state: TrainingState) -> str:
    epoch = collapse_epoch([line.embedding_std for line in state.log])
    # Batch normalisation can pull the images of a batch apart again, which single images do not have.
    when = f"from epoch {epoch} on" if epoch else "in evaluation mode, though not within a training batch"
    return f"the embedding collapsed: all images have nearly the same, {when}; usual causes are {CAUSES}"


def publish_diverged(study: StudyContext, cell: Cell, outcome: Outcome, rung_scores: Mapping[int, float]) -> CellResult:
    message = _divergence_message(outcome)
    result = _training_result(study, cell, "diverged", outcome, message=message)
    study.folder.write_cell(result, training_files(study, cell, outcome), _rungs(rung_scores))
    return result


def _divergence_message(outcome: Outcome) -> str:
    values = f"the embeddings had values that are not finite or beyond {EXPLODED_EMBEDDING:,.0f}"
    if not outcome.state.log:
        return f"{values}, without any training; other weights or another network would help"
    last = outcome.state.log[-1]
    if outcome.status == "done":
        what = f"{values} after"
    else:
        what = f"the loss {f'exploded, to {last.loss:.3g},' if math.isfinite(last.loss) else 'was not finite'} in"
    return f"{what} epoch {last.epoch}; a smaller learning rate would help"


def publish_pruned(study: StudyContext, cell: Cell, outcome: Outcome, rung_scores: Mapping[int, float]) -> CellResult:
    epochs = len(outcome.state.log)
    message = f"stopped early by {study.config.scheduler} after {epochs} of {study.config.epochs} epochs"
    result = _training_result(study, cell, PRUNED, outcome, rung_score=rung_scores[epochs], message=message)
    study.folder.write_cell(result, training_files(study, cell, outcome), _rungs(rung_scores))
    return result


def _training_result(study: StudyContext, cell: Cell, status: str, outcome: Outcome, **columns: Any) -> CellResult:
    """The row of a cell that is not evaluated."""
    images = len(study.subset(cell))
    return CellResult.of(cell, status, **_training_values(outcome.state), train_images=images, **columns)


def _rungs(scores: Mapping[int, float]) -> dict[str, Any]:
    """What schedulers decide by, for the cell's ``metrics.json``."""
    return {"rung_scores": {str(epoch): score for epoch, score in scores.items()}} if scores else {}


def _training_values(state: TrainingState) -> dict[str, Any]:
    if not state.log:
        return {}
    rates = [line.images_per_second for line in state.log]
    return {
        "epochs": len(state.log),
        "final_loss": state.log[-1].loss,
        "train_seconds": state.seconds,
        "images_per_second": float(np.median(rates)),
    }
