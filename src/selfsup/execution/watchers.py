"""What people see while a study runs: a live view, plain lines, or nothing."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from selfsup.record.results import PRUNED

if TYPE_CHECKING:
    from selfsup.config.grid import Job
    from selfsup.data import AuditEntry
    from selfsup.execution.executors.base import Event, JobDone

#: What the speed of a training depends on: its method and augmentation.
Kind = tuple[str, str | None]
#: Problems of files that a study does without, one entry per file.
SET_ASIDE = ("unreadable", "empty", "no class")
#: Seconds between two plain lines about training.
LINE_EVERY = 10.0


class Watcher(Protocol):
    """Is told what a study does."""

    def say(self, line: str) -> None:
        """A sentence for people."""
        ...

    def decoded(self, done: int, total: int) -> None:
        """`done` of `total` images are decoded."""
        ...

    def begin(self, study: Path, tally: Tally) -> None:
        """Jobs are about to run; `tally` counts them."""
        ...

    def on_event(self, event: Event) -> None:
        """Something happened."""
        ...

    def end(self) -> None:
        """No more will happen."""
        ...


class Silent:
    """A watcher that shows nothing."""

    def say(self, line: str) -> None: ...

    def decoded(self, done: int, total: int) -> None: ...

    def begin(self, study: Path, tally: Tally) -> None: ...

    def on_event(self, event: Event) -> None: ...

    def end(self) -> None: ...


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
    cell the seconds of a evaluation. Both are measured as the study runs. A kind of training that has
    not begun is taken to be as fast as those that have; before the first evaluation,
    :data:`selfsup.execution.estimate.SECONDS_PER_CELL` stands for it.

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
    done : int
        Cells of the grid that were finished before.
    """

    def __init__(
        self, jobs: Sequence[Job], train_counts: Sequence[int], *, epochs: int, workers: int, done: int
    ) -> None:
        from selfsup.execution.estimate import SECONDS_PER_CELL

        self.cells = sum(len(job.cells) for job in jobs) + done
        self.done_cells = done
        self.statuses: Counter[str] = Counter()
        self.running: dict[int, Running] = {}
        self._left = {job.id: job for job in jobs}
        self._epochs = epochs
        self._per_epoch = {job.id: _images_per_epoch(job, train_counts) for job in jobs}
        self._workers = workers
        self._trained: defaultdict[Kind, float] = defaultdict(float)  # images that passed a training, and
        self._training: defaultdict[Kind, float] = defaultdict(float)  # the seconds that it took
        self._evaluated, self._evaluating = 0, 0.0
        self._first_guess = SECONDS_PER_CELL

    def take(self, event: Event) -> None:
        """Count an event."""
        from selfsup.execution.executors.base import EpochDone, JobDone, JobRetried, JobStarted

        if isinstance(event, JobStarted):
            self.running[event.worker] = Running(event.job, since=time.monotonic())
        elif isinstance(event, EpochDone):
            self.running[event.worker] = Running(
                event.job, event.epoch, event.epochs, event.loss, event.images_per_second, time.monotonic()
            )
            images = self._per_epoch[event.job.id]
            self._trained[_kind(event.job)] += images
            self._training[_kind(event.job)] += images / event.images_per_second
        elif isinstance(event, JobRetried):
            self.running.pop(event.worker, None)
        elif isinstance(event, JobDone):
            self._finish(event)

    def seconds_left(self) -> float | None:
        """Estimated seconds until all is done; None before the first epoch of any training."""
        left = [self._seconds(job) for job in self._left.values()]
        if not left or any(math.isnan(seconds) for seconds in left):
            return None
        return max(sum(left) / self._workers, *left)

    def _finish(self, event: JobDone) -> None:
        job, running = event.job, self.running.pop(event.worker, None)
        self._left.pop(job.id, None)
        self.statuses.update(event.statuses.values())
        self.done_cells += len(job.cells)
        if running is not None and set(event.statuses.values()) <= {"done", "collapsed"}:
            self._evaluated += len(job.cells)
            self._evaluating += time.monotonic() - running.since

    def _seconds(self, job: Job) -> float:
        """What is left of a job; NaN where that needs a speed and none was measured."""
        running = next((r for r in self.running.values() if r.job.id == job.id), Running(job))
        last = job.until or running.epochs or self._epochs
        images = self._per_epoch[job.id] * (last - running.epoch)
        per_cell = self._evaluating / self._evaluated if self._evaluated else self._first_guess
        return per_cell * len(job.cells) + (images * self._seconds_per_image(_kind(job)) if images else 0.0)

    def _seconds_per_image(self, kind: Kind) -> float:
        if not self._trained:
            return math.nan
        if kind in self._trained:
            return self._training[kind] / self._trained[kind]
        return sum(self._training.values()) / sum(self._trained.values())


def _kind(job: Job) -> Kind:
    return job.cells[0].method, job.cells[0].augmentation


def _images_per_epoch(job: Job, train_counts: Sequence[int]) -> int:
    """Images that one pass of the job's training sees; none where the method does not train."""
    cell = job.cells[0]
    if cell.augmentation is None:
        return 0
    most = math.inf if job.shared or cell.per_class == "all" else cell.per_class
    return len(job.trainings) * int(sum(min(count, most) for count in train_counts))


class Lines:
    """Plain lines, for logs and pipes.

    Parameters
    ----------
    out : text file
        Standard error by default.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._last = 0.0
        self._tally: Tally | None = None

    def say(self, line: str) -> None:
        print(line, file=self._out, flush=True)

    def decoded(self, done: int, total: int) -> None:
        if done == 1:
            self._last = time.monotonic()
        if done == total or self._due():
            self.say(f"Read {done} of {counted(total, 'image')}.")

    def begin(self, study: Path, tally: Tally) -> None:
        self._tally = tally
        already = f", {tally.done_cells} of them finished before" if tally.done_cells else ""
        self.say(f"{counted(tally.cells, 'cell')}{already}; study in {study}")

    def on_event(self, event: Event) -> None:
        from selfsup.execution.executors.base import EpochDone, JobDone, JobRetried

        assert self._tally is not None
        self._tally.take(event)
        if isinstance(event, JobDone):
            first = self._tally.done_cells - len(event.statuses) + 1
            for number, (cell, status) in enumerate(event.statuses.items(), first):
                how = status if status != PRUNED or event.job.until is None else f"at epoch {event.job.until}, waits"
                self.say(f"[{number}/{self._tally.cells}] {cell}: {how}{_eta(self._tally)}")
        elif isinstance(event, JobRetried):
            self.say(f"{event.job.id}: {event.reason}; trying once more")
        elif isinstance(event, EpochDone) and self._due():
            self.say(
                f"  {event.job.id}: epoch {event.epoch}/{event.epochs}, loss {event.loss:.4f}, "
                f"{event.images_per_second:.0f} images/s"
            )

    def end(self) -> None: ...

    def _due(self) -> bool:
        now = time.monotonic()
        if now - self._last < LINE_EVERY:
            return False
        self._last = now
        return True


class Live:
    """One live view on a terminal: cells done, time left, what each worker does."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._tally: Tally | None = None
        self._live: Any = None
        self._decoding: Any = None

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False)

    def decoded(self, done: int, total: int) -> None:
        from rich.progress import Progress

        if self._decoding is None:
            self._decoding = Progress(console=self._console, transient=True)
            self._decoding.start()
            self._decoding.add_task("Decoding images", total=total)
        self._decoding.update(self._decoding.task_ids[0], completed=done)
        if done == total:
            self._decoding.stop()
            self._decoding = None

    def begin(self, study: Path, tally: Tally) -> None:
        from rich.live import Live as RichLive

        self._tally = tally
        self._live = RichLive(self._view(), console=self._console, refresh_per_second=4, transient=True)
        self._live.start()

    def on_event(self, event: Event) -> None:
        from selfsup.execution.executors.base import JobDone, JobRetried

        assert self._tally is not None
        self._tally.take(event)
        if isinstance(event, JobRetried):
            self.say(f"{event.job.id}: {event.reason}; trying once more")
        if isinstance(event, JobDone):
            for cell, status in event.statuses.items():
                if status not in ("done", PRUNED):
                    self.say(f"{cell}: {status}")
        self._live.update(self._view())

    def end(self) -> None:
        if self._live is not None:
            self._live.stop()

    def _view(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        assert self._tally is not None
        tally = self._tally
        head = Text(f"{tally.done_cells} of {counted(tally.cells, 'cell')}{_eta(tally)}")
        others = {k: n for k, n in tally.statuses.items() if k != "done"}
        if others:
            head.append("  " + ", ".join(f"{n} {status}" for status, n in others.items()), style="yellow")
        table = Table("worker", "cell", "epoch", "loss", "images/s", box=None, pad_edge=False)
        for number, r in sorted(tally.running.items()):
            epoch = f"{r.epoch}/{r.epochs}" if r.epochs else "starting"
            loss = "" if math.isnan(r.loss) else f"{r.loss:.4f}"
            rate = "" if math.isnan(r.rate) else f"{r.rate:.0f}"
            table.add_row(str(number), r.job.id, epoch, loss, rate)
        bar = Table.grid()  # a bar by itself does not end its line
        bar.add_row(ProgressBar(total=tally.cells, completed=tally.done_cells, width=60))
        return Group(head, bar, table)


def _eta(tally: Tally) -> str:
    left = tally.seconds_left()
    return "" if left is None else f", about {format_duration(left)} left"


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 cell, 54 cells."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def describe_set_aside(audit: Iterable[AuditEntry], where: str | Path) -> str:
    """How many files a study does without, and `where` that was seen; empty where there are none."""
    entries = list(audit)
    parts = []
    problems = Counter(entry.problem for entry in entries if entry.problem in SET_ASIDE)
    if problems:
        reasons = ", ".join(f"{number} {problem}" for problem, number in problems.most_common())
        parts.append(f"{counted(problems.total(), 'file')} set aside ({reasons})")
    others = [entry.path for entry in entries if entry.problem == "ignored"]
    if others:
        parts.append(f"not taken for images: {', '.join(others[:5])}{', …' * (len(others) > 5)}")
    return f"{'; '.join(parts)}: {where}" if parts else ""


def format_duration(seconds: float) -> str:
    """A duration as people say it: 45 s, 12 min, 3 h 20 min, 2 d 4 h."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def format_bytes(count: float) -> str:
    """A size as people say it: 3 MB, 1.2 GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{math.ceil(count / 1e6)} MB"
