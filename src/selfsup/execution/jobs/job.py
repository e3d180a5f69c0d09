"""Runs one job: subset, training, embedding, evaluation, record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from selfsup.backbones import load_weights
from selfsup.config.grid import Cell, Job
from selfsup.execution.jobs.context import StudyContext
from selfsup.execution.jobs.job_callbacks import FollowerCallbacks, JobCallbacks, OnEpoch, ShouldStop
from selfsup.execution.schedulers import load_scheduler
from selfsup.execution.schedulers.base import Scheduler
from selfsup.execution.study_networks import network_of
from selfsup.execution.teachers import taught
from selfsup.methods import Method, method_class, read_settings
from selfsup.record.results import CellResult
from selfsup.seeding import derive_seed
from selfsup.training.callbacks import Callbacks
from selfsup.training.fused import CannotFuseError, train_together
from selfsup.training.loop import Training
from selfsup.training.plan import TrainingPlan
from selfsup.training.state import EpochLog, Outcome, TrainingState
from selfsup.views import load_policy

OnWarning = Callable[[str], None]


def run_job(
    study: StudyContext,
    job: Job,
    *,
    on_epoch: OnEpoch = lambda log, epochs: None,
    on_warning: OnWarning = lambda message: None,
    should_stop: ShouldStop = lambda: False,
) -> list[CellResult]:
    """Train, then evaluate and publish every cell of the job; `on_warning` is told what goes on not as was asked.

    Raises
    ------
    Interrupted
        If `should_stop` said so; checkpoints are saved, and the same call goes on from them.
    """
    scheduler = load_scheduler(study.config, study.folder)
    report = _once_per_epoch(on_epoch) if job.fused is not None else on_epoch
    trainings = [_JobTraining(study, training, scheduler, report, should_stop) for training in job.trainings]
    results = []
    for training, outcome in zip(trainings, _run_trainings(trainings, on_warning), strict=True):
        results += _conclude(study, training, outcome, should_stop)
        if outcome.status != "paused" or not scheduler.resumes:
            study.folder.clear_job(training.job.id)
    if job.fused is not None:
        study.folder.clear_job(job.id)
    return results


class _JobTraining:
    """One training of a job, and its callbacks."""

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


def _run_trainings(trainings: list[_JobTraining], on_warning: OnWarning) -> Iterator[Outcome]:
    """How the trainings ended: trained together where the method can be fused, or else one after another."""
    study = trainings[0].study
    if not trainings[0].method.tags.trains:
        yield Outcome("done", TrainingState())
        return
    if len(trainings) > 1:
        try:
            yield from train_together([training.training(study.fabric) for training in trainings])
            return
        except CannotFuseError as error:
            first = trainings[0].job.cells[0]
            on_warning(
                f"{first.method} of {first.backbone} cannot be fused ({error}), so its learning rates are trained one "
                f"after another; without --fuse, several workers could share them."
            )
            for training in trainings:
                training.begin()
    for training in trainings:
        yield training.training(_fabric(study, training.job)).run()


def _once_per_epoch(on_epoch: OnEpoch) -> OnEpoch:
    """Pass on the first log of every epoch: fused trainings come to its end together."""
    last = 0

    def report(log: EpochLog, epochs: int) -> None:
        nonlocal last
        if log.epoch > last:
            last = log.epoch
            on_epoch(log, epochs)

    return report


def _conclude(
    study: StudyContext, training: _JobTraining, outcome: Outcome, should_stop: ShouldStop
) -> list[CellResult]:
    """Evaluate and publish the cells of one training."""
    # Not before a training has ended: figures take seconds to import, which its first step does not wait for.
    from selfsup.execution.jobs.cell_evaluation import evaluate_cells
    from selfsup.execution.jobs.publishing import publish_diverged, publish_pruned

    job, scores = training.job, training.callbacks.scores
    if outcome.status == "paused":
        return [publish_pruned(study, cell, outcome, scores[cell.id]) for cell in job.cells]
    if outcome.status == "diverged":
        return [publish_diverged(study, cell, outcome, scores[cell.id]) for cell in job.cells]
    return evaluate_cells(study, job, training.method, outcome, scores, should_stop)


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
    backbone = network_of(config, cell.method, cell.backbone, study.folder)
    weights = study.folder.initial_weights(cell.backbone, reference=cls.tags.of_references)
    if cls.tags.keeps_weights and weights.exists():
        load_weights(backbone, weights)
    settings = read_settings(cell.method, config.settings.get(cell.method, {}))
    sizes = {"num_classes": len(study.store.classes), "num_images": len(train_images)}
    return cls(backbone, settings, **sizes, **taught(study.folder, config, cell.method, train_images))


def _training_images(study: StudyContext, job: Job) -> np.ndarray:
    return study.split(job.cells[0].seed).train if job.shared else study.subset(job.cells[0])


def _training(
    study: StudyContext, cell: Cell, method: Method, indices: np.ndarray, callbacks: Callbacks, fabric: Any
) -> Training:
    assert cell.lr is not None and cell.augmentation is not None
    config = study.config
    plan = TrainingPlan.of(config, cell.seed, epochs=config.epochs, lr=cell.lr, min_steps=config.min_steps)
    plan = replace(plan, grow_from=config.grow_from, patience=config.patience)
    labels = study.store.items.targets(indices)
    return Training(method, study.store, indices, labels, load_policy(cell.augmentation), plan, fabric, callbacks)
