"""Evaluates the cells of a trained job, and has them published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from selfsup.atomic import replace_file
from selfsup.backbones import Backbone, weights_file
from selfsup.config.grid import Cell, Job
from selfsup.evaluation.base import Evaluated
from selfsup.evaluation.embedding import MEASURED_IMAGES, Embedded
from selfsup.evaluation.evaluation_context import EvaluationContext, Part, TrainedNetwork
from selfsup.evaluation.evaluators import evaluate
from selfsup.execution.context import StudyContext, limit
from selfsup.execution.job_callbacks import CheckpointCallbacks, ShouldStop, embed_plain
from selfsup.execution.publishing import Found, publish, publish_diverged
from selfsup.methods import Method
from selfsup.record.results import CellResult
from selfsup.training.callbacks import Callbacks
from selfsup.training.diagnostics import embedding_exploded
from selfsup.training.state import Outcome


def evaluate_cells(
    study: StudyContext,
    job: Job,
    method: Method,
    outcome: Outcome,
    rung_scores: Mapping[str, Mapping[int, float]],
    should_stop: ShouldStop,
) -> list[CellResult]:
    """Evaluate and publish every cell of a training; one whose embedding has exploded is published as diverged."""
    backbone = method.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train_images = {cell: study.probe_images(cell) for cell in job.cells}
    # Without labels there is nothing to fit on.
    fitted = {cell: indices if study.store.classes else indices[:0] for cell, indices in train_images.items()}
    wanted = np.unique(np.concatenate([*fitted.values(), study.split.val, study.evaluated]))
    embedded = Embedded(wanted, embed_plain(study, backbone, wanted))
    if embedding_exploded(embedded.features):
        return [publish_diverged(study, cell, outcome, rung_scores[cell.id]) for cell in job.cells]
    network = _network(study, backbone)
    weights = _write_weights(study, job, backbone)
    results = []
    for cell in job.cells:
        train, val, test = (
            Part(part, embedded.of(part), network.labels[part])
            for part in (fitted[cell], study.split.val, study.evaluated)
        )
        evaluated = _evaluate(study, job, cell, network, (train, val, test), should_stop)
        found = Found(outcome, rung_scores[cell.id], len(train_images[cell]), test, evaluated)
        results.append(publish(study, cell, method, found, weights))
    return results


def _network(study: StudyContext, backbone: Backbone) -> TrainedNetwork:
    held_out = study.split.test if len(study.split.test) else study.split.train
    return TrainedNetwork(
        backbone,
        study.store,
        study.store.labels,
        viewed=limit(held_out, MEASURED_IMAGES, study.config.split_seed),
        config=study.config,
        fabric=study.fabric,
        device=study.hardware.device,
    )


def _evaluate(
    study: StudyContext,
    job: Job,
    cell: Cell,
    network: TrainedNetwork,
    parts: tuple[Part, Part, Part],
    should_stop: ShouldStop,
) -> Evaluated:
    paths: list[Path] = []

    def callbacks(name: str) -> Callbacks:
        paths.append(study.folder.checkpoint(job.id, of=f"{cell.id}-{name}"))
        return CheckpointCallbacks(paths[-1], study.config.checkpoint_seconds, should_stop)

    context = EvaluationContext(
        *parts,
        classes=study.store.classes,
        seed=cell.seed,
        subset=study.subset(cell),
        network=network,
        callbacks=callbacks,
    )
    evaluated = evaluate(context, study.config.evaluate)
    for path in paths:
        path.unlink(missing_ok=True)
    return evaluated


def _write_weights(study: StudyContext, job: Job, backbone: Backbone) -> dict[str, Path]:
    """The weights of all cells of the job, once on the disk; none where the study keeps none."""
    if study.config.keep == "none":
        return {}
    path = study.folder.job_weights(job.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, weights_file(backbone))
    return {path.name: path}
