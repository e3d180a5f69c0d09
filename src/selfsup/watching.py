"""What people see while a study runs: a live view, plain lines, or nothing."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

if TYPE_CHECKING:
    from selfsup.data import Store
    from selfsup.executors.base import Event
    from selfsup.grid import Job

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
    """A worker's job and where it stands."""

    job: Job
    epoch: int = 0
    epochs: int = 0
    loss: float = math.nan
    rate: float = math.nan


class Tally:
    """Counts what is done and estimates what is left.

    The cost of a job is taken as the number of images it trains on, so that a study of small and
    large cells does not promise an early end after the small ones.
    """

    def __init__(self, jobs: Sequence[Job], store: Store, done: int) -> None:
        self.cells = sum(len(job.cells) for job in jobs) + done
        self.done_cells = done
        self.statuses: Counter[str] = Counter()
        self.running: dict[int, Running] = {}
        self._cost = {job.id: _cost(job, store) for job in jobs}
        self._total = sum(self._cost.values())
        self._spent = 0.0
        self._started = time.monotonic()

    def take(self, event: Event) -> None:
        """Count an event."""
        from selfsup.executors.base import EpochDone, JobDone, JobRetried, JobStarted

        if isinstance(event, JobStarted):
            self.running[event.worker] = Running(event.job)
        elif isinstance(event, EpochDone):
            self.running[event.worker] = Running(
                event.job, event.epoch, event.epochs, event.loss, event.images_per_second
            )
        elif isinstance(event, JobRetried):
            self.running.pop(event.worker, None)
        elif isinstance(event, JobDone):
            self.running.pop(event.worker, None)
            self.statuses.update(event.statuses.values())
            self.done_cells += len(event.statuses)
            self._spent += self._cost[event.job.id]

    def seconds_left(self) -> float | None:
        """Estimate from the share of the images trained on so far; None before there is any."""
        share = (self._spent + sum(self._in_hand())) / self._total
        elapsed = time.monotonic() - self._started
        return elapsed * (1 - share) / share if share > 0.005 else None

    def _in_hand(self) -> list[float]:
        return [self._cost[r.job.id] * r.epoch / r.epochs for r in self.running.values() if r.epochs]


def _cost(job: Job, store: Store) -> float:
    from selfsup.methods import method_class

    cell = job.cells[0]
    everything = float(len(store))
    if not method_class(cell.method).traits.trains:
        return 0.1 * everything
    if job.shared or cell.per_class == "all":
        return everything
    return min(everything, float(cell.per_class) * max(1, len(store.classes)))


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
        if done == total or self._due():
            self.say(f"Decoded {done} of {total} images.")

    def begin(self, study: Path, tally: Tally) -> None:
        self._tally = tally
        already = f", {tally.done_cells} of them finished before" if tally.done_cells else ""
        self.say(f"{tally.cells} cells{already}; study in {study}")

    def on_event(self, event: Event) -> None:
        from selfsup.executors.base import EpochDone, JobDone, JobRetried

        assert self._tally is not None
        self._tally.take(event)
        if isinstance(event, JobDone):
            for cell, status in event.statuses.items():
                self.say(f"[{self._tally.done_cells}/{self._tally.cells}] {cell}: {status}{_eta(self._tally)}")
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
        from selfsup.executors.base import JobDone, JobRetried

        assert self._tally is not None
        self._tally.take(event)
        if isinstance(event, JobRetried):
            self.say(f"{event.job.id}: {event.reason}; trying once more")
        if isinstance(event, JobDone):
            for cell, status in event.statuses.items():
                if status != "done":
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
        head = Text(f"{tally.done_cells} of {tally.cells} cells{_eta(tally)}")
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
