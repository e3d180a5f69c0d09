"""Runs one job: subset, training, embedding, judgement, record."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from selfsup.artefacts import cell_files, training_files
from selfsup.augment import load_policy
from selfsup.backbones import Backbone, build_backbone, load_weights
from selfsup.evaluate import label_free
from selfsup.evaluate.embedding import embed, embed_two_views
from selfsup.evaluate.judgement import Embedded, Judgement, judge_by_labels, judge_by_structure
from selfsup.grid import Cell, Job
from selfsup.methods import Method, method_class, read_settings
from selfsup.opened import OpenStudy, limit
from selfsup.record import CellResult, replace_file
from selfsup.seeding import derive_seed
from selfsup.training import COLLAPSED_BELOW, EpochLog, Outcome, Progress, TrainingPlan, train

#: Most images that a probe is fitted on, and that a measure without labels looks at.
PROBE_IMAGES = 50_000
MEASURED_IMAGES = 1_000

OnEpoch = Callable[[EpochLog, int], None]


def run_job(
    study: OpenStudy,
    job: Job,
    *,
    on_epoch: OnEpoch = lambda log, epochs: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[CellResult]:
    """Train once, then judge and publish every cell of the job.

    Raises
    ------
    Interrupted
        If `should_stop` said so; a checkpoint is saved, and the same call goes on from it.
    """
    first = job.cells[0]
    images = _training_images(study, job)
    method = build_method(study, first, images)
    outcome = Outcome("done", Progress())
    if method.traits.trains:
        hooks = _FileHooks(study, job, on_epoch, should_stop)
        outcome = _train(study, first, method, images, hooks)
    if outcome.status == "diverged":
        results = [_publish_diverged(study, cell, outcome) for cell in job.cells]
    else:
        results = _judge_cells(study, job, method, outcome)
    study.folder.clear_job(job.id)
    return results


def build_method(study: OpenStudy, cell: Cell, train_images: np.ndarray) -> Method:
    """The method of a cell with its backbone and heads as they are before the first step."""
    config = study.config
    cls = method_class(cell.method)
    torch.manual_seed(derive_seed(cell.seed, "weights"))
    backbone = initial_backbone(study, keeps_weights=cls.keeps_weights)
    settings = read_settings(cell.method, config.settings.get(cell.method, {}))
    return cls(backbone, settings, num_classes=len(study.store.classes), num_images=len(train_images))


def initial_backbone(study: OpenStudy, *, keeps_weights: bool = True) -> Backbone:
    """A backbone as it is before training; random weights come from torch's global random state."""
    config = study.config
    backbone = build_backbone(config.backbone, image_size=config.image_size, stem=config.stem)
    weights = study.folder.initial_weights
    if keeps_weights and weights.exists():
        load_weights(backbone, weights)
    return backbone


def _training_images(study: OpenStudy, job: Job) -> np.ndarray:
    return study.split.train if job.shared else study.subset(job.cells[0])


def _train(study: OpenStudy, cell: Cell, method: Method, indices: np.ndarray, hooks: _FileHooks) -> Outcome:
    config = study.config
    assert cell.lr is not None and cell.augmentation is not None
    plan = TrainingPlan(
        epochs=config.epochs,
        batch_size=config.batch_size,
        image_size=config.image_size,
        lr=cell.lr,
        seed=cell.seed,
        schedule=config.schedule,
        # A short run of a preset made for long ones must still reach the learning rate that it quotes.
        warmup_epochs=min(config.warmup_epochs, config.epochs / 10),
    )
    labels = None if study.store.labels is None else study.store.labels[indices]
    return train(method, study.store, indices, labels, load_policy(cell.augmentation), plan, study.fabric, hooks)


class _FileHooks:
    """Checkpoints in the study's folder; progress to whoever listens."""

    def __init__(self, study: OpenStudy, job: Job, on_epoch: OnEpoch, should_stop: Callable[[], bool]) -> None:
        self._path = study.folder.checkpoint(job.id)
        self._interval = study.config.checkpoint_seconds
        self._saved = time.monotonic()
        self.epoch_done, self.should_stop = on_epoch, should_stop

    def load_checkpoint(self) -> dict[str, Any] | None:
        if not self._path.exists():
            return None
        state: dict[str, Any] = torch.load(self._path, map_location="cpu", weights_only=True)
        return state

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        content = io.BytesIO()
        torch.save(state, content)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._path, content.getvalue())
        self._saved = time.monotonic()

    def checkpoint_due(self) -> bool:
        return time.monotonic() - self._saved >= self._interval


# -- judgement and record -----------------------------------------------------------------------


def _judge_cells(study: OpenStudy, job: Job, method: Method, outcome: Outcome) -> list[CellResult]:
    backbone = method.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    probes = {cell: limit(study.subset(cell), PROBE_IMAGES, cell.seed) for cell in job.cells}
    if study.store.labels is not None:
        wanted = np.unique(np.concatenate([*probes.values(), study.split.val, study.split.test]))
    else:
        wanted = study.judged
    device = study.hardware.device
    features = embed(backbone, study.store, wanted, image_size=study.config.image_size, device=device)
    embedded = Embedded(wanted, features)
    pairs = _pair_measures(study, backbone)
    results = []
    for cell in job.cells:
        judgement = _judge(study, cell, embedded, probes[cell])
        results.append(_publish(study, cell, method, outcome, judgement, pairs, len(probes[cell])))
    return results


def _judge(study: OpenStudy, cell: Cell, embedded: Embedded, probe_images: np.ndarray) -> Judgement:
    if study.store.labels is None:
        return judge_by_structure(embedded, seed=cell.seed)
    return judge_by_labels(
        embedded,
        study.store.labels,
        train=probe_images,
        val=study.split.val,
        test=study.split.test,
        num_classes=len(study.store.classes),
    )


def _pair_measures(study: OpenStudy, backbone: Backbone) -> dict[str, float]:
    """Alignment and uniformity under the SimCLR augmentation, the same views for every cell."""
    held_out = study.split.test if len(study.split.test) else study.split.train
    images = limit(held_out, MEASURED_IMAGES, study.config.split_seed)
    first, second = embed_two_views(
        backbone,
        study.store,
        images,
        load_policy("simclr"),
        image_size=study.config.image_size,
        device=study.hardware.device,
    )
    return {"alignment": label_free.alignment(first, second), "uniformity": label_free.uniformity(first)}


def _publish(
    study: OpenStudy,
    cell: Cell,
    method: Method,
    outcome: Outcome,
    judgement: Judgement,
    pairs: Mapping[str, float],
    probe_images: int,
) -> CellResult:
    collapsed = method.traits.trains and judgement.columns["embedding_std"] < COLLAPSED_BELOW
    result = CellResult.of(
        cell,
        "collapsed" if collapsed else "done",
        **_training_columns(outcome.progress),
        **judgement.columns,
        **pairs,
        train_images=probe_images,
        message="all images have nearly the same embedding" if collapsed else None,
    )
    extras = {}
    if judgement.scores is not None:
        extras["confusion"] = judgement.scores.confusion.tolist()
    files = cell_files(study, cell, method, outcome, judgement)
    study.folder.write_cell(result, files, extras)
    return result


def _publish_diverged(study: OpenStudy, cell: Cell, outcome: Outcome) -> CellResult:
    epoch = outcome.progress.log[-1].epoch
    result = CellResult.of(
        cell,
        "diverged",
        **_training_columns(outcome.progress),
        train_images=len(study.subset(cell)),
        message=f"the loss was not finite in epoch {epoch}; a smaller learning rate would help",
    )
    study.folder.write_cell(result, training_files(study, cell, outcome))
    return result


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
