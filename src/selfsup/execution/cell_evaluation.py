"""Evaluates the cells of a trained job, and has them published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from selfsup.backbones.networks import Backbone
from selfsup.config.grid import Cell, Job, format_lr
from selfsup.evaluation.embedding import embed_views
from selfsup.evaluation.evaluators.finetune import fine_tune
from selfsup.evaluation.evaluators.probe import (
    MEASURED_IMAGES,
    CellEvaluation,
    Criteria,
    Embedded,
    evaluate_with_labels,
    evaluate_without_labels,
    structure_of_views,
    views_wanted,
)
from selfsup.execution.artifacts import weights_file
from selfsup.execution.context import StudyContext, limit
from selfsup.execution.job_callbacks import CheckpointCallbacks, ShouldStop, embed_plain
from selfsup.execution.publishing import Found, publish
from selfsup.methods import Method
from selfsup.record.folder import replace_file
from selfsup.record.results import CellResult
from selfsup.training.loop import Outcome, TrainingPlan
from selfsup.views import load_policy


def evaluate_cells(
    study: StudyContext,
    job: Job,
    method: Method,
    outcome: Outcome,
    rung_scores: Mapping[str, Mapping[int, float]],
    should_stop: ShouldStop,
) -> list[CellResult]:
    backbone = method.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    probes = {cell: study.probe_images(cell) for cell in job.cells}
    if study.store.labels is not None:
        wanted = np.unique(np.concatenate([*probes.values(), study.split.val, study.split.test]))
    else:
        wanted = study.judged
    embedded = Embedded(wanted, embed_plain(study, backbone, wanted))
    views = _measure_views(study, backbone)
    weights = _write_weights(study, job, backbone)
    results = []
    for cell in job.cells:
        tuned = _fine_tune(study, job, cell, backbone, should_stop)
        evaluation = _evaluate(study, cell, embedded, probes[cell])
        found = Found(outcome, rung_scores[cell.id], evaluation, {**views, **tuned})
        results.append(publish(study, cell, method, found, len(probes[cell]), weights))
    return results


def _write_weights(study: StudyContext, job: Job, backbone: Backbone) -> dict[str, Path]:
    """The weights of all cells of the job, once on the disk; none where the study keeps none."""
    if study.config.keep == "none":
        return {}
    path = study.folder.job_weights(job.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, weights_file(backbone))
    return {path.name: path}


def _evaluate(study: StudyContext, cell: Cell, embedded: Embedded, probe_images: np.ndarray) -> CellEvaluation:
    config = study.config
    if study.store.labels is None:
        return evaluate_without_labels(embedded, seed=cell.seed)
    return evaluate_with_labels(
        embedded,
        study.store.labels,
        train=probe_images,
        val=study.split.val,
        test=study.split.test,
        num_classes=len(study.store.classes),
        criteria=Criteria(
            probe=config.probe,
            neighbours=config.knn_neighbours,
            temperature=config.knn_temperature,
            device=study.hardware.device,
            seed=cell.seed,
        ),
    )


def _measure_views(study: StudyContext, backbone: Backbone) -> dict[str, float]:
    """Measures of views under the SimCLR augmentation, the same views for every cell."""
    held_out = study.split.test if len(study.split.test) else study.split.train
    images = limit(held_out, MEASURED_IMAGES, study.config.split_seed)
    views = embed_views(
        backbone,
        study.store,
        images,
        load_policy("simclr"),
        views_wanted(len(images), backbone.num_features),
        image_size=study.config.side,
        device=study.hardware.device,
    )
    return structure_of_views(views)


def _fine_tune(
    study: StudyContext, job: Job, cell: Cell, backbone: Backbone, should_stop: ShouldStop
) -> dict[str, float]:
    """Columns of the cell's fine-tuning; none where the study does not ask for it, or has no labels."""
    config, labels = study.config, study.store.labels
    if "finetune" not in config.evaluate or labels is None:
        return {}

    paths = {lr: study.folder.checkpoint(job.id, of=f"{cell.id}-finetune{format_lr(lr)}") for lr in config.finetune_lrs}

    tuned = fine_tune(
        backbone,
        study.store,
        labels,
        train_on=study.subset(cell),
        val=study.split.val,
        test=study.split.test,
        num_classes=len(study.store.classes),
        lrs=config.finetune_lrs,
        plan=training_plan(study, cell, epochs=config.finetune_epochs, lr=min(config.finetune_lrs)),
        fabric=study.fabric,
        callbacks=lambda lr: CheckpointCallbacks(paths[lr], config.checkpoint_seconds, should_stop),
    )
    for path in paths.values():
        path.unlink(missing_ok=True)
    if tuned is None:
        return {}
    return {
        "finetune_accuracy": tuned.test_accuracy,
        "finetune_val_accuracy": tuned.val_accuracy,
        "finetune_lr": tuned.lr,
    }


def training_plan(study: StudyContext, cell: Cell, *, epochs: int, lr: float) -> TrainingPlan:
    """What a training of the study is given, but for what its method and device decide."""
    config = study.config
    return TrainingPlan(
        epochs=epochs,
        batch_size=config.batch_size,
        image_size=config.side,
        lr=lr,
        seed=cell.seed,
        schedule=config.schedule,
        # A short run of a preset made for long ones must still reach the learning rate that it quotes.
        warmup_epochs=min(config.warmup_epochs, epochs / 10),
    )
