"""What people see while a study runs: a live view, plain lines, or nothing."""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from selfsup.execution.executors.base import EpochDone, Event, JobDone, JobRetried
from selfsup.execution.progress import Tally, waits
from selfsup.execution.words import counted, finished_before, format_duration
from selfsup.record.results import PRUNED

#: Seconds between two plain lines about training.
LINE_EVERY = 10.0


class Watcher:
    """Shown what a study does; as it is here, it shows nobody anything."""

    def say(self, line: str) -> None:
        """A sentence for people."""

    def decoded(self, done: int, total: int) -> None:
        """`done` of `total` images are decoded."""

    def begin(self, study: Path, tally: Tally) -> None:
        """Jobs are about to run; `tally` counts them."""

    def on_event(self, event: Event) -> None:
        """Something happened."""

    def end(self) -> None:
        """No more will happen."""


class Lines(Watcher):
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
        try:
            print(line, file=self._out, flush=True)
        except BrokenPipeError:  # as of `| head`: nobody listens any more, and the work goes on
            with open(os.devnull, "w") as nobody:
                os.dup2(nobody.fileno(), self._out.fileno())

    def decoded(self, done: int, total: int) -> None:
        if done == 1:
            self._last = time.monotonic()
        if done == total or self._due():
            self.say(f"Went through {done} of {counted(total, 'file')}.")

    def begin(self, study: Path, tally: Tally) -> None:
        if self._tally is None:  # and not again for a scheduler's further rounds
            before = finished_before(f"{tally.done_cells - tally.stopped} of them", tally.stopped)
            already = f", {before}" if tally.done_cells else ""
            self.say(f"{counted(tally.cells, 'cell')}{already}; study in {study}")
        self._tally = tally

    def on_event(self, event: Event) -> None:
        assert self._tally is not None
        self._tally.take(event)
        if isinstance(event, JobDone) and waits(event):
            for cell in event.statuses:
                self.say(f"  {cell}: at epoch {event.job.until}, waits{_eta(self._tally)}")
        elif isinstance(event, JobDone):
            first = self._tally.done_cells - len(event.statuses) + 1
            for number, (cell, status) in enumerate(event.statuses.items(), first):
                self.say(f"[{number}/{self._tally.cells}] {cell}: {status}{_eta(self._tally)}")
        elif isinstance(event, JobRetried):
            self.say(f"{event.job.id}: {event.reason}; trying once more")
        elif isinstance(event, EpochDone) and self._due():
            self.say(
                f"  {event.job.id}: epoch {event.epoch}/{event.epochs}, loss {event.loss:.4f}, "
                f"{event.images_per_second:.0f} images/s"
            )

    def _due(self) -> bool:
        now = time.monotonic()
        if now - self._last < LINE_EVERY:
            return False
        self._last = now
        return True


class Live(Watcher):
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
