"""What people see while a study runs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from selfsup.config.grid import Cell, Job
from selfsup.data import AuditEntry
from selfsup.execution import watchers as watching
from selfsup.execution.estimate import SECONDS_PER_CELL
from selfsup.execution.executors.base import EpochDone, JobDone, JobStarted
from selfsup.execution.watchers import Lines, Tally, counted, describe_set_aside, format_bytes, format_duration

SIZES = (5, 20, "all")
SHARED = Job(tuple(Cell("simclr", "weak", 0.1, n, 0) for n in SIZES), shared=True)
SMALL = Job((Cell("moco", "weak", 0.1, 5, 0),))
LARGE = Job((Cell("moco", "weak", 0.1, "all", 0),))
UNTRAINED = Job(tuple(Cell("frozen", None, None, n, 0) for n in SIZES), shared=True)
#: Training images of three classes, one of which has fewer than asked for.
COUNTS = (100, 100, 3)


def tally(*jobs: Job, workers: int = 1, done: int = 0) -> Tally:
    return Tally(jobs, COUNTS, epochs=10, workers=workers, done=done)


def finished(job: Job) -> JobDone:
    return JobDone(job, 0, {cell.id: "done" for cell in job.cells})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock, set by hand."""
    now = [1000.0]
    monkeypatch.setattr(watching.time, "monotonic", lambda: now[0])
    return now


def test_cells_of_one_training_are_counted_one_by_one() -> None:
    out = io.StringIO()
    lines = Lines(out)
    lines.begin(Path("study"), tally(SHARED, SMALL, done=2))
    lines.on_event(JobStarted(SHARED, 0))
    lines.on_event(finished(SHARED))
    assert [line.split(":")[0] for line in out.getvalue().splitlines()[1:]] == [
        "[3/6] simclr-weak-lr0.1-n5-s0",
        "[4/6] simclr-weak-lr0.1-n20-s0",
        "[5/6] simclr-weak-lr0.1-nall-s0",
    ]


def test_cells_published_before_their_worker_died_count_too() -> None:
    counts = tally(SHARED)
    counts.take(JobDone(SHARED, 0, {SHARED.cells[2].id: "failed"}))
    assert counts.done_cells == counts.cells == 3


def test_nothing_is_promised_before_a_training_was_timed() -> None:
    assert tally(SMALL, UNTRAINED).seconds_left() is None
    assert tally(UNTRAINED).seconds_left() == 3 * SECONDS_PER_CELL


def test_the_first_estimate_holds_training_and_judgement_of_all_jobs() -> None:
    counts = tally(SMALL, LARGE, UNTRAINED)
    counts.take(JobStarted(SMALL, 0))
    counts.take(EpochDone(SMALL, 0, epoch=1, epochs=10, loss=1.0, images_per_second=13.0))
    # 5 + 5 + 3 images at 13 per second take a second an epoch, all 203 take 203 / 13.
    training = 9 + 10 * 203 / 13
    assert counts.seconds_left() == pytest.approx(training + 5 * SECONDS_PER_CELL)


def test_workers_share_the_work_but_no_single_job() -> None:
    for workers in (1, 2, 8):
        counts = tally(SMALL, LARGE, workers=workers)
        counts.take(EpochDone(SMALL, 0, epoch=10, epochs=10, loss=1.0, images_per_second=203.0))
        small, large = SECONDS_PER_CELL, 10 + SECONDS_PER_CELL
        counts.running[0] = watching.Running(SMALL, epoch=10, epochs=10)
        assert counts.seconds_left() == pytest.approx(max(large, (small + large) / workers))


def test_judgement_is_timed_from_the_last_epoch_to_the_record(clock: list[float]) -> None:
    counts = tally(SHARED, UNTRAINED)
    counts.take(JobStarted(SHARED, 0))
    clock[0] += 100
    counts.take(EpochDone(SHARED, 0, epoch=10, epochs=10, loss=1.0, images_per_second=50.0))
    clock[0] += 21
    counts.take(finished(SHARED))
    assert counts.seconds_left() == pytest.approx(3 * 7)
    counts.take(finished(UNTRAINED))
    assert counts.seconds_left() is None


def test_the_first_line_on_decoding_is_no_single_image(clock: list[float]) -> None:
    out = io.StringIO()
    lines = Lines(out)
    for done in range(1, 31):
        lines.decoded(done, 30)
        clock[0] += 0.9
    assert out.getvalue().splitlines() == [
        "Read 13 of 30 images.",
        "Read 25 of 30 images.",
        "Read 30 of 30 images.",
    ]


def test_numbers_have_the_nouns_that_people_give_them() -> None:
    assert (counted(1, "cell"), counted(0, "cell"), counted(54, "cell")) == ("1 cell", "0 cells", "54 cells")
    assert [format_bytes(n) for n in (1, 3e6, 1e9, 2.34e9)] == ["1 MB", "3 MB", "1.0 GB", "2.3 GB"]
    assert [format_duration(s) for s in (45, 720, 12000)] == ["45 s", "12 min", "3 h 20 min"]


@pytest.mark.parametrize(
    ("problems", "line"),
    [
        ([], ""),
        ([("a.png", "duplicate")], ""),
        ([("a.png", "empty")], "1 file set aside (1 empty): s/audit.csv"),
        (
            [("a.png", "empty"), ("b.png", "unreadable"), ("c.png", "unreadable"), ("b/", "small class")],
            "3 files set aside (2 unreadable, 1 empty): s/audit.csv",
        ),
        (
            [("a.png", "no class"), ("*.heic", "ignored"), ("*.txt", "ignored")],
            "1 file set aside (1 no class); not taken for images: *.heic, *.txt: s/audit.csv",
        ),
        ([("*.txt", "ignored")], "not taken for images: *.txt: s/audit.csv"),
    ],
)
def test_files_set_aside_are_said_in_one_line(problems: list[tuple[str, str]], line: str) -> None:
    audit = [AuditEntry(path, problem, "") for path, problem in problems]
    assert describe_set_aside(audit, Path("s") / "audit.csv") == line
