"""Evaluates the cells of a trained job, and has them published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from selfsup.atomic import replace_file
from selfsup.backbones import Backbone, weights_file
from selfsup.config.grid import Cell, Job
from selfsup.data.items import UNKNOWN
from selfsup.evaluation.base import Evaluated
from selfsup.evaluation.embedding import MEASURED_IMAGES, Embedded, embed
from selfsup.evaluation.evaluation_context import EvaluationContext, Part, TrainedNetwork
from selfsup.evaluation.evaluators import evaluate
from selfsup.execution.external_test import labels_in
from selfsup.execution.jobs.context import StudyContext, limit
from selfsup.execution.jobs.job_callbacks import CheckpointCallbacks, ShouldStop, embed_plain
from selfsup.execution.jobs.publishing import Found, publish, publish_diverged
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
    held_out = {cell: (study.split(cell.seed).val, study.evaluated(cell.seed)) for cell in job.cells}
    wanted = np.unique(np.concatenate([*fitted.values(), *(part for parts in held_out.values() for part in parts)]))
    embedded = Embedded(wanted, embed_plain(study, backbone, wanted))
    if embedding_exploded(embedded.features):
        return [publish_diverged(study, cell, outcome, rung_scores[cell.id]) for cell in job.cells]
    # One for all cells of a split: what it computes of its images is computed once.
    networks = {study.split_suffix(seed): _network(study, backbone, seed) for seed in {c.seed for c in job.cells}}
    external = _external(study, backbone)
    weights = _write_weights(study, job, backbone)
    results = []
    for cell in job.cells:
        network = networks[study.split_suffix(cell.seed)]
        train, val, test = (
            Part(part, embedded.of(part), network.labels[part]) for part in (fitted[cell], *held_out[cell])
        )
        evaluated = _evaluate(study, job, cell, network, (train, val, test), external, should_stop)
        found = Found(outcome, rung_scores[cell.id], len(train_images[cell]), test, evaluated)
        results.append(publish(study, cell, method, found, weights))
    return results


def _network(study: StudyContext, backbone: Backbone, seed: int) -> TrainedNetwork:
    held_out = study.split(seed).test if len(study.split(seed).test) else study.split(seed).train
    return TrainedNetwork(
        backbone,
        study.store,
        study.store.items.targets(np.arange(len(study.store))),
        viewed=limit(held_out, MEASURED_IMAGES, study.config.split_seed),
        config=study.config,
        fabric=study.fabric,
        device=study.hardware.device,
    )


def _external(study: StudyContext, backbone: Backbone) -> Part | None:
    """The images of the external test that have a label, and their embeddings; None without them."""
    if study.external is None:
        return None
    labels = labels_in(study.store.classes, study.external)
    indices = np.flatnonzero(labels != UNKNOWN)
    features = embed(backbone, study.external, indices, image_size=backbone.image_size, device=study.hardware.device)
    return Part(indices, features, labels[indices])


def _evaluate(
    study: StudyContext,
    job: Job,
    cell: Cell,
    network: TrainedNetwork,
    parts: tuple[Part, Part, Part],
    external: Part | None,
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
        external=external,
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
