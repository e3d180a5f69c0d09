"""Runs one job: subset, training, embedding, evaluation, record."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfsup.backbones.networks import Backbone, build_backbone, load_weights
from selfsup.config.grid import Cell, Job, format_lr
from selfsup.evaluation.embedding import embed_views
from selfsup.evaluation.evaluate import (
    MEASURED_IMAGES,
    CellEvaluation,
    Criteria,
    Embedded,
    evaluate_with_labels,
    evaluate_without_labels,
    structure_of_views,
    views_wanted,
)
from selfsup.evaluation.finetune import fine_tune
from selfsup.execution.artifacts import cell_files, training_files, weights_file
from selfsup.execution.context import StudyContext, limit
from selfsup.execution.job_callbacks import (
    CheckpointCallbacks,
    FollowerCallbacks,
    JobCallbacks,
    OnEpoch,
    ShouldStop,
    embed_plain,
)
from selfsup.execution.schedulers import Scheduler, load_scheduler
from selfsup.methods import Method, method_class, read_settings
from selfsup.record.folder import replace_file
from selfsup.record.results import PRUNED, CellResult
from selfsup.seeding import derive_seed
from selfsup.training.diagnostics import COLLAPSED_BELOW, collapse_epoch
from selfsup.training.fused import CannotFuseError, train_together
from selfsup.training.loop import Callbacks, EpochLog, Outcome, Progress, Training, TrainingPlan
from selfsup.views import load_policy

#: What usually makes a collapse, for the cell's message.
CAUSES = "a learning rate that is too high, a batch that is too small, or views that have too little in common"


def run_job(
    study: StudyContext,
    job: Job,
    *,
    on_epoch: OnEpoch = lambda log, epochs: None,
    should_stop: ShouldStop = lambda: False,
) -> list[CellResult]:
    """Train, then judge and publish every cell of the job.

    Raises
    ------
    Interrupted
        If `should_stop` said so; checkpoints are saved, and the same call goes on from them.
    """
    scheduler = load_scheduler(study.config, study.folder)
    tell = _once_per_epoch(on_epoch) if job.fused is not None else on_epoch
    trainings = [_JobTraining(study, training, scheduler, tell, should_stop) for training in job.trainings]
    results = []
    for training, outcome in zip(trainings, _run_trainings(trainings), strict=True):
        results += _conclude(study, training, outcome, should_stop)
        if outcome.status != "paused" or not scheduler.resumes:
            study.folder.clear_job(training.job.id)
    if job.fused is not None:
        study.folder.clear_job(job.id)
    return results


class _JobTraining:
    """One training of a job, and what it tells."""

    def __init__(
        self, study: StudyContext, job: Job, scheduler: Scheduler, on_epoch: OnEpoch, should_stop: ShouldStop
    ) -> None:
        self.study, self.job = study, job
        self.images = _training_images(study, job)
        self.callbacks = JobCallbacks(study, job, self.images, scheduler, on_epoch, should_stop)
        self.begin()

    def begin(self) -> None:
        """Have the method as it is before the first step."""
        self.method = build_method(self.study, self.job.cells[0], self.images)

    def training(self, fabric: Any) -> Training:
        return _training(self.study, self.job.cells[0], self.method, self.images, self.callbacks, fabric)


def _run_trainings(trainings: list[_JobTraining]) -> Iterator[Outcome]:
    """Outcomes of the trainings' trainings, which are together if there are several, or else one after another."""
    study = trainings[0].study
    if not trainings[0].method.traits.trains:
        yield Outcome("done", Progress())
        return
    if len(trainings) > 1:
        try:
            yield from train_together([training.training(study.fabric) for training in trainings])
            return
        except CannotFuseError as error:
            warnings.warn(
                f"{trainings[0].job.cells[0].method} cannot be fused ({error}); each trains alone", stacklevel=2
            )
            for training in trainings:
                training.begin()
    for training in trainings:
        yield training.training(_fabric(study, training.job)).run()


def _once_per_epoch(on_epoch: OnEpoch) -> OnEpoch:
    """Pass on the first word of every epoch: fused trainings come to its end together."""
    told = 0

    def tell(log: EpochLog, epochs: int) -> None:
        nonlocal told
        if log.epoch > told:
            told = log.epoch
            on_epoch(log, epochs)

    return tell


def _conclude(
    study: StudyContext, training: _JobTraining, outcome: Outcome, should_stop: ShouldStop
) -> list[CellResult]:
    """Judge and publish the cells of one training."""
    job, scores = training.job, training.callbacks.scores
    if outcome.status == "paused":
        return [_publish_pruned(study, cell, outcome, scores[cell.id]) for cell in job.cells]
    if outcome.status == "diverged":
        return [_publish_diverged(study, cell, outcome, scores[cell.id]) for cell in job.cells]
    return _evaluate_cells(study, job, training.method, outcome, scores, should_stop)


def follow_job(study: StudyContext, job: Job, fabric: Any) -> None:
    """Take part in the training of a job that :func:`run_job` runs in another process.

    Raises
    ------
    Interrupted
        If that process was asked to stop.
    """
    first = job.cells[0]
    images = _training_images(study, job)
    callbacks = FollowerCallbacks(study.folder.checkpoint(job.id))
    _training(study, first, build_method(study, first, images), images, callbacks, fabric).run()


def _fabric(study: StudyContext, job: Job) -> Any:
    """One device, or several with the followers called to the job."""
    if study.config.devices == 1:
        return study.fabric
    study.followers.start_job(job)
    return study.followers.fabric


def build_method(study: StudyContext, cell: Cell, train_images: np.ndarray) -> Method:
    """The method of a cell with its backbone and heads as they are before the first step."""
    config = study.config
    cls = method_class(cell.method)
    torch.manual_seed(derive_seed(cell.seed, "weights"))
    backbone = initial_backbone(study, keeps_weights=cls.keeps_weights)
    settings = read_settings(cell.method, config.settings.get(cell.method, {}))
    return cls(backbone, settings, num_classes=len(study.store.classes), num_images=len(train_images))


def initial_backbone(study: StudyContext, *, keeps_weights: bool = True) -> Backbone:
    """A backbone as it is before training; random weights come from torch's global random state."""
    config = study.config
    backbone = build_backbone(config.backbone, image_size=config.side, stem=config.stem)
    weights = study.folder.initial_weights
    if keeps_weights and weights.exists():
        load_weights(backbone, weights)
    return backbone


def _training_images(study: StudyContext, job: Job) -> np.ndarray:
    return study.split.train if job.shared else study.subset(job.cells[0])


def _training(
    study: StudyContext, cell: Cell, method: Method, indices: np.ndarray, callbacks: Callbacks, fabric: Any
) -> Training:
    assert cell.lr is not None and cell.augmentation is not None
    config = study.config
    plan = _plan(study, cell, epochs=config.epochs, lr=cell.lr)
    plan = replace(plan, grow_from=config.grow_from, patience=config.patience)
    labels = None if study.store.labels is None else study.store.labels[indices]
    return Training(method, study.store, indices, labels, load_policy(cell.augmentation), plan, fabric, callbacks)


def _plan(study: StudyContext, cell: Cell, *, epochs: int, lr: float) -> TrainingPlan:
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


# -- evaluation and record -----------------------------------------------------------------------


def _evaluate_cells(
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
        found = _Found(outcome, rung_scores[cell.id], evaluation, {**views, **tuned})
        results.append(_publish(study, cell, method, found, len(probes[cell]), weights))
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
        plan=_plan(study, cell, epochs=config.finetune_epochs, lr=min(config.finetune_lrs)),
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


@dataclass(frozen=True)
class _Found:
    """What is to be recorded of a judged cell: its training, scores at rungs, evaluation, and further columns."""

    outcome: Outcome
    rung_scores: Mapping[int, float]
    evaluation: CellEvaluation
    further: Mapping[str, float]


def _publish(
    study: StudyContext, cell: Cell, method: Method, found: _Found, probe_images: int, weights: Mapping[str, Path]
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


def _publish_diverged(
    study: StudyContext, cell: Cell, outcome: Outcome, rung_scores: Mapping[int, float]
) -> CellResult:
    epoch = outcome.progress.log[-1].epoch
    message = f"the loss was not finite in epoch {epoch}; a smaller learning rate would help"
    result = _training_result(study, cell, "diverged", outcome, message=message)
    study.folder.write_cell(result, training_files(study, cell, outcome), _rungs(rung_scores))
    return result


def _publish_pruned(study: StudyContext, cell: Cell, outcome: Outcome, rung_scores: Mapping[int, float]) -> CellResult:
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
