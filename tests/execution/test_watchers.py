"""What people see while a study runs."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import pytest

from selfsup.config.grid import Cell, Job
from selfsup.execution import watchers
from selfsup.execution.executors.base import JobDone, JobStarted
from selfsup.execution.progress import Tally
from selfsup.execution.watchers import Lines
from selfsup.record.results import PRUNED


def test_cells_of_one_training_are_counted_one_by_one() -> None:
    shared = Job(tuple(Cell("simclr", "resnet18", "weak", 0.1, n, 0) for n in (5, 20, "all")), shared=True)
    small = Job((Cell("moco", "resnet18", "weak", 0.1, 5, 0),))
    out = io.StringIO()
    lines = Lines(out)
    tally = Tally([shared, small], (100,), epochs=10, workers=1, done=2)
    lines.begin(Path("study"), tally)
    lines.on_event(JobStarted(shared, 0))
    lines.on_event(JobDone(shared, 0, {cell.id: "done" for cell in shared.cells}))
    assert [line.split(":")[0] for line in out.getvalue().splitlines()[1:]] == [
        "[3/6] simclr-resnet18-weak-lr0.1-n5-s0",
        "[4/6] simclr-resnet18-weak-lr0.1-n20-s0",
        "[5/6] simclr-resnet18-weak-lr0.1-nall-s0",
    ]


def test_the_first_line_on_decoding_is_no_single_image(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(watchers.time, "monotonic", lambda: now)
    out = io.StringIO()
    lines = Lines(out)
    for done in range(1, 31):
        lines.decoded(done, 30)
        now += 0.9
    assert out.getvalue().splitlines() == [
        "Went through 13 of 30 files.",
        "Went through 25 of 30 files.",
        "Went through 30 of 30 files.",
    ]


def test_the_heading_is_said_once_and_what_waits_is_not_done() -> None:
    """Two rounds of a budget for ten cells: the first ends where trainings are compared."""
    waiting = Job((Cell("simclr", "resnet18", "weak", 0.1, 5, 0),), until=4)
    whole = Job((Cell("random", "resnet18", None, None, 5, 0),))
    out = io.StringIO()
    lines = Lines(out)
    lines.begin(Path("study"), Tally([waiting, whole], (100,), epochs=10, workers=1, done=0, planned=10))
    for job, status in ((waiting, PRUNED), (whole, "done")):
        lines.on_event(JobStarted(job, 0))
        lines.on_event(JobDone(job, 0, {job.cells[0].id: status}))
    lines.begin(Path("study"), Tally([replace(waiting, until=None)], (100,), epochs=10, workers=1, done=1, planned=10))
    lines.on_event(JobDone(waiting, 0, {waiting.cells[0].id: "done"}))
    assert [line.split(", about")[0] for line in out.getvalue().splitlines()] == [
        "10 cells; study in study",
        f"  {waiting.cells[0].id}: at epoch 4, waits",
        f"[1/10] {whole.cells[0].id}: done",
        f"[2/10] {waiting.cells[0].id}: done",
    ]


def test_what_was_stopped_before_is_not_called_finished() -> None:
    job = Job((Cell("simclr", "resnet18", "weak", 0.1, 5, 0),))
    out = io.StringIO()
    Lines(out).begin(Path("study"), Tally([job], (100,), epochs=10, workers=1, done=3, stopped=2))
    assert out.getvalue() == "6 cells, 3 of them finished before and 2 stopped early (pruned); study in study\n"


def test_a_reader_that_goes_stops_no_study() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as out:
        lines = Lines(out)
        for _ in range(2):
            lines.say("nobody hears this")
