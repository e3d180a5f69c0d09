"""How long the rest of a study takes, from what was measured so far."""

from __future__ import annotations

import pytest

from selfsup.config.grid import Cell, Job
from selfsup.execution import progress
from selfsup.execution.executors.base import EpochDone, JobDone, JobStarted
from selfsup.execution.progress import SECONDS_PER_CELL, Running, Tally

SIZES = (5, 20, "all")
SHARED = Job(tuple(Cell("simclr", "resnet18", "weak", 0.1, n, 0) for n in SIZES), shared=True)
SMALL = Job((Cell("moco", "resnet18", "weak", 0.1, 5, 0),))
LARGE = Job((Cell("moco", "resnet18", "weak", 0.1, "all", 0),))
UNTRAINED = Job(tuple(Cell("frozen", "resnet18", None, None, n, 0) for n in SIZES), shared=True)
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
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_cells_published_before_their_worker_died_count_too() -> None:
    counts = tally(SHARED)
    counts.take(JobDone(SHARED, 0, {SHARED.cells[2].id: "failed"}))
    assert counts.done_cells == counts.cells == 3


def test_nothing_is_promised_before_a_training_was_timed() -> None:
    assert tally(SMALL, UNTRAINED).seconds_left() is None
    assert tally(UNTRAINED).seconds_left() == 3 * SECONDS_PER_CELL


def test_the_first_estimate_holds_training_and_evaluation_of_all_jobs() -> None:
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
        counts.running[0] = Running(SMALL, epoch=10, epochs=10)
        assert counts.seconds_left() == pytest.approx(max(large, (small + large) / workers))


def test_evaluation_is_timed_from_the_last_epoch_to_the_record(clock: list[float]) -> None:
    counts = tally(SHARED, UNTRAINED)
    counts.take(JobStarted(SHARED, 0))
    clock[0] += 100
    counts.take(EpochDone(SHARED, 0, epoch=10, epochs=10, loss=1.0, images_per_second=50.0))
    clock[0] += 21
    counts.take(finished(SHARED))
    assert counts.seconds_left() == pytest.approx(3 * 7)
    counts.take(finished(UNTRAINED))
    assert counts.seconds_left() is None


def test_within_a_budget_the_time_left_is_that_of_the_budget(clock: list[float]) -> None:
    counting = Tally([], COUNTS, epochs=1, workers=1, done=0, ends=clock[0] + 100)
    clock[0] += 30
    assert counting.seconds_left() == 70


def test_trainings_without_labels_see_the_pool_and_others_do_not() -> None:
    supervised = Job((Cell("supervised", "resnet18", "weak", 0.1, "all", 0),))
    counts = Tally((SHARED, supervised), COUNTS, epochs=10, workers=1, done=0, pool=1000)
    counts.take(EpochDone(SHARED, 0, epoch=1, epochs=10, loss=1.0, images_per_second=100.0))
    left = (9 * 1203 + 10 * 203) / 100 + 4 * SECONDS_PER_CELL
    assert counts.seconds_left() == pytest.approx(left)
