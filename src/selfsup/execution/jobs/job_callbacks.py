"""What a running cell keeps and reports: checkpoints in its study's folder, progress, an online kNN."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfsup.atomic import replace_file
from selfsup.backbones import Backbone
from selfsup.config.grid import Job
from selfsup.data.items import UNKNOWN
from selfsup.evaluation.embedding import MEASURED_IMAGES, Embedded, embed, sample_rows
from selfsup.evaluation.evaluators.knn import knn_predict
from selfsup.evaluation.linear_probe import fit_linear_probe
from selfsup.evaluation.metrics import METRICS
from selfsup.execution.jobs.context import StudyContext, limit
from selfsup.execution.schedulers.base import Scheduler, read_scores
from selfsup.training.callbacks import Callbacks
from selfsup.training.diagnostics import COLLAPSED_BELOW, effective_rank, embedding_exploded, embedding_std
from selfsup.training.state import EpochLog

OnEpoch = Callable[[EpochLog, int], None]
ShouldStop = Callable[[], bool]


class FollowerCallbacks(Callbacks):
    """Goes on from a checkpoint in a file, which another process writes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load_checkpoint(self) -> dict[str, Any] | None:
        if not self._path.exists():
            return None
        state: dict[str, Any] = torch.load(self._path, map_location="cpu", weights_only=True)
        return state


class CheckpointCallbacks(FollowerCallbacks):
    """Checkpoints in a file; stops on request."""

    def __init__(self, path: Path, interval: float, should_stop: ShouldStop) -> None:
        super().__init__(path)
        self._interval = interval
        self._saved = time.monotonic()
        self._should_stop = should_stop

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        content = io.BytesIO()
        torch.save(state, content)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._path, content.getvalue())
        self._saved = time.monotonic()

    def checkpoint_due(self) -> bool:
        return time.monotonic() - self._saved >= self._interval

    def should_stop(self) -> bool:
        return self._should_stop()


class JobCallbacks(CheckpointCallbacks):
    """A job's training: its progress is reported, and its embedding watched, where the study asks for it.

    Attributes
    ----------
    scores : dict of str to dict of int to float
        What the study's scheduler compares trainings by: of each cell by id, its score by epoch, those of
        earlier rounds included.
    """

    def __init__(
        self,
        study: StudyContext,
        job: Job,
        images: np.ndarray,
        scheduler: Scheduler,
        on_epoch: OnEpoch,
        should_stop: ShouldStop,
    ) -> None:
        config = study.config
        super().__init__(study.folder.checkpoint(job.id), config.checkpoint_seconds, should_stop)
        self.scores = {cell.id: read_scores(study.folder.metrics(cell.id)) for cell in job.cells}
        self._job, self._scheduler = job, scheduler
        self._study, self._ended = study, False
        known = images[study.store.labels[images] != UNKNOWN]
        self._bank = limit(known, MEASURED_IMAGES, config.split_seed)
        self._asked = limit(study.split(job.cells[0].seed).val, MEASURED_IMAGES, config.split_seed)
        self._on_epoch = on_epoch

    def score_epoch(self, epoch: int, backbone: Backbone) -> float | None:
        config, labels = self._study.config, self._study.store.labels
        if not config.knn_every or epoch % config.knn_every or not len(self._asked):
            return None
        bank, asked = (embed_plain(self._study, backbone, part) for part in (self._bank, self._asked))
        if embedding_exploded(bank) or embedding_exploded(asked):  # of which any class would be the nearest
            return None
        predicted = knn_predict(
            bank,
            labels[self._bank],
            asked,
            num_classes=len(self._study.store.items.kinds),
            k=config.knn_neighbours,
            temperature=config.knn_temperature,
        )
        return float((predicted == labels[self._asked]).mean())

    def on_epoch_end(self, log: EpochLog, epochs: int) -> None:
        self._ended = log.epoch == epochs
        self._on_epoch(log, epochs)

    def should_pause(self, epoch: int, backbone: Backbone) -> bool:
        if not self._scheduler.compares_at(self._job, epoch):
            return False
        found = score_cells(self._study, self._job, backbone)
        for cell, score in found.items():
            self.scores[cell][epoch] = score
        return not self._scheduler.goes_on(self._job, epoch, float(np.mean(list(found.values()))))

    def checkpoint_due(self) -> bool:
        # What is evaluated on request, as fine-tuning is, may take as long as the training, whose end should not be
        # lost to a stop in it.
        return super().checkpoint_due() or (self._ended and len(self._study.config.evaluate) > 1)


def score_cells(study: StudyContext, job: Job, backbone: Backbone) -> dict[str, float]:
    """What the report would choose settings by, of every cell of the job by id, if its training ended here.

    The study's metric on validation images, or effective rank without labels; 0 where the embedding has collapsed or
    exploded, of which the report would choose nothing.
    """
    seed = job.cells[0].seed
    items, val, evaluated = study.store.items, study.split(seed).val, study.evaluated(seed)
    validated = len(val) > 0
    probes = {cell: study.probe_images(cell) if validated else evaluated for cell in job.cells}
    wanted = np.unique(np.concatenate([*probes.values(), *([val] if validated else [])]))
    embedded = Embedded(wanted, embed_plain(study, backbone, wanted))
    if embedding_exploded(embedded.features):
        return {cell.id: 0.0 for cell in job.cells}
    if embedding_std(torch.from_numpy(embedded.of(val if validated else evaluated)).double()) < COLLAPSED_BELOW:
        return {cell.id: 0.0 for cell in job.cells}
    if not validated:
        return {cell.id: effective_rank(sample_rows(embedded.of(evaluated), cell.seed)) for cell in job.cells}
    metric, scores = METRICS[study.config.metric], {}
    for cell, train in probes.items():
        probe = fit_linear_probe(
            embedded.of(train),
            items.targets(train),
            embedded.of(val),
            items.targets(val),
            num_classes=len(items.classes),
            solver=study.config.probe,
            device=study.hardware.device,
            seed=cell.seed,
        )
        scores[cell.id] = metric.value(items.targets(val), probe.probabilities(embedded.of(val)))
    return scores


def embed_plain(study: StudyContext, backbone: Backbone, indices: np.ndarray) -> np.ndarray:
    """Embeddings, shape (n, width), of images of the study as they are."""
    return embed(backbone, study.store, indices, image_size=backbone.image_size, device=study.hardware.device)
