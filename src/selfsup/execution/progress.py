"""How far the jobs of a study are, and how long the rest will take."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from selfsup.config.grid import Job, images_of
from selfsup.execution.executors.base import EpochDone, Event, JobDone, JobRetried, JobStarted
from selfsup.record.results import PRUNED

#: What the speed of a training depends on: its method, network and augmentation.
Kind = tuple[str, str, str | None]
#: Seconds per cell for the probe, the maps and the pictures; measured on two cores for the digits and rounded up.
SECONDS_PER_CELL = 2.0


@dataclass
class Running:
    """A worker's job and where it stands, `since` when (on the monotonic clock)."""

    job: Job
    epoch: int = 0
    epochs: int = 0
    loss: float = math.nan
    rate: float = math.nan
    since: float = 0.0


class Tally:
    """Counts what is done and estimates what is left.

    A job takes its images times the seconds per image of its method and augmentation, and for each
    cell the seconds of an evaluation. Both are measured as the study runs. A kind of training that has
    not begun is taken to be as fast as those that have; before the first evaluation,
    :data:`SECONDS_PER_CELL` stands for it.

    Parameters
    ----------
    jobs : sequence of Job
        Those that will run.
    train_counts : sequence of int
        Training images of each class.
    epochs : int
        Passes of one training over its images.
    workers : int
        Jobs that run at the same time.
    pool : int
        Training images without a label beside them, which trainings without labels see.
    done : int
        Cells of the grid that were finished before,
    stopped : int
        and that a scheduler has stopped early and does not go on with.
    passes : callable, optional
        From a number of training images to how often an epoch passes over them; once by default.
    planned : int
        Cells that are to be done in later rounds too, these among them; no fewer than those are counted.
    ends : float, optional
        When the time of a study is over, on the monotonic clock; it has other jobs until then.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        train_counts: Sequence[int],
        *,
        epochs: int,
        workers: int,
        done: int,
        stopped: int = 0,
        pool: int = 0,
        passes: Callable[[int], int] = lambda images: 1,
        ends: float | None = None,
        planned: int = 0,
    ) -> None:
        self._ends = ends
        self.cells = max(planned, sum(len(job.cells) for job in jobs) + done + stopped)
        self.done_cells, self.stopped = done + stopped, stopped
        self.statuses: Counter[str] = Counter()
        self.running: dict[int, Running] = {}
        self._left = {job.id: job for job in jobs}
        self._epochs = epochs
        images = {job.id: _training_images(job, train_counts, pool) for job in jobs}
        self._per_epoch = {job.id: len(job.trainings) * images[job.id] * passes(images[job.id]) for job in jobs}
        self._workers = workers
        self._trained: defaultdict[Kind, float] = defaultdict(float)  # images that passed a training, and
        self._training: defaultdict[Kind, float] = defaultdict(float)  # the seconds that it took
        self._evaluated, self._evaluating = 0, 0.0

    def take(self, event: Event) -> None:
        """Count an event."""
        if isinstance(event, JobStarted):
            self.running[event.worker] = Running(event.job, since=time.monotonic())
        elif isinstance(event, EpochDone):
            self.running[event.worker] = Running(
                event.job, event.epoch, event.epochs, event.loss, event.images_per_second, time.monotonic()
            )
            images = self._per_epoch[event.job.id]
            self._trained[kind_of(event.job)] += images
            self._training[kind_of(event.job)] += images / event.images_per_second
        elif isinstance(event, JobRetried):
            self.running.pop(event.worker, None)
        elif isinstance(event, JobDone):
            self._finish(event)

    def seconds_left(self) -> float | None:
        """Estimated seconds until all is done; None before the first epoch of any training."""
        if self._ends is not None:
            return max(0.0, self._ends - time.monotonic())
        left = [self._seconds(job) for job in self._left.values()]
        if not left or any(math.isnan(seconds) for seconds in left):
            return None
        return max(sum(left) / self._workers, *left)

    def _finish(self, event: JobDone) -> None:
        job, running = event.job, self.running.pop(event.worker, None)
        self._left.pop(job.id, None)
        self.statuses.update(event.statuses.values())
        self.done_cells += 0 if waits(event) else len(job.cells)
        if running is not None and set(event.statuses.values()) <= {"done", "collapsed"}:
            self._evaluated += len(job.cells)
            self._evaluating += time.monotonic() - running.since

    def _seconds(self, job: Job) -> float:
        """What is left of a job; NaN where that needs a speed and none was measured."""
        running = next((r for r in self.running.values() if r.job.id == job.id), Running(job))
        last = job.until or running.epochs or self._epochs
        images = self._per_epoch[job.id] * (last - running.epoch)
        per_cell = self._evaluating / self._evaluated if self._evaluated else SECONDS_PER_CELL
        return per_cell * len(job.cells) + (images * self._seconds_per_image(kind_of(job)) if images else 0.0)

    def _seconds_per_image(self, kind: Kind) -> float:
        if not self._trained:
            return math.nan
        if kind in self._trained:
            return self._training[kind] / self._trained[kind]
        return sum(self._training.values()) / sum(self._trained.values())


def waits(event: JobDone) -> bool:
    """Whether a job has come to where it is compared, and not to its end."""
    return event.job.until is not None and {*event.statuses.values()} == {PRUNED}


def kind_of(job: Job) -> Kind:
    """What the speed of a job depends on."""
    cell = job.cells[0]
    return cell.method, cell.backbone, cell.augmentation


def _training_images(job: Job, train_counts: Sequence[int], pool: int) -> int:
    """Images of one of the job's trainings; none where the method does not train."""
    cell = job.cells[0]
    if cell.augmentation is None:
        return 0
    images = sum(images_of("all" if job.shared else cell.per_class, count) for count in train_counts)
    return images + pool * job.shared
