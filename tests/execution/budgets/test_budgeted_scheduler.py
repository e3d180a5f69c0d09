"""A study within a budget, on a machine that turns out slower or faster than it was measured."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfsup.config.grid import Job, Tags, expand, group_jobs
from selfsup.config.network_source import NetworkSource
from selfsup.config.validation import validate
from selfsup.data.items import Item, ItemTable
from selfsup.execution.budgets.budget import Cost, blocks_of
from selfsup.execution.budgets.budgeted_scheduler import Budget, BudgetedScheduler, Deviation
from selfsup.execution.budgets.job_costs import JobCosts
from selfsup.execution.executors.base import JobDone, JobStarted
from selfsup.execution.progress import SECONDS_PER_CELL
from selfsup.execution.schedulers import load_scheduler
from selfsup.execution.schedulers.base import Record
from selfsup.record.folder import StudyFolder

SEEDS = 2
METHODS = ("simclr", "moco", "byol", "random")
CONFIG = validate({"methods": METHODS, "epochs": 90, "scheduler": "halving"})
TAGS = {name: Tags(trains=name != "random") for name in METHODS}
JOBS = group_jobs(
    expand(
        methods=METHODS, backbones=[NetworkSource("resnet18", "none")], augmentations=("weak", "simclr"),
        lrs=("0.3x", "1x", "3x"), per_class=(5, 20, "all"), seeds=SEEDS, tags=TAGS,
        rates={(name, "resnet18"): 0.1 for name in METHODS},
    ),
    protocol="data-regime", tags=TAGS,
)  # fmt: skip
IMAGES = {5: 5.0, 20: 20.0, "all": 100.0}


class Costs:
    """Trainings of 5, 20 and 100 s by their images, and evaluations of 4 s a cell."""

    config = CONFIG
    items = ItemTable.of([Item("image.png", "class")])

    def training(self, job: Job) -> float:
        return 0.0 if job.cells[0].lr is None else IMAGES[job.cells[0].per_class]

    def evaluation(self, job: Job) -> float:
        return (SECONDS_PER_CELL + 1) * len(job.cells)


class Machine:
    """Runs jobs in workers, each so many times slower than it was measured to be, until a study's time is over."""

    def __init__(self, budget: str, slower: Callable[[float], float], workers: int = 2) -> None:
        self.now, self.slower, self.workers = 0.0, slower, workers
        self.records: dict[str, Record] = {}
        self.said: list[str] = []
        inner = load_scheduler(CONFIG, StudyFolder(Path("nowhere")))
        self.budget = Budget(budget, 0.0, 0.0)
        self.scheduler = BudgetedScheduler(
            inner,
            blocks_of(JOBS, CONFIG, inner, Costs().evaluation),
            cast(JobCosts, Costs()),
            {},
            workers,
            self.budget,
            lambda: self.now,
            self.said.append,
        )

    def run(self) -> None:
        while wanted := self.scheduler.next_round(JOBS, self.records):
            self._run(wanted)
            if self.now >= self.budget.until:
                return

    def _run(self, jobs: list[Job]) -> None:
        free = [(self.now, number) for number in range(self.workers)]
        ended: list[tuple[float, int, Job]] = []
        for number, job in enumerate(jobs):
            begins, worker = heapq.heappop(free)
            ends = begins + self.slower(begins) * self._seconds(job)
            ended.append((ends, number, job))
            heapq.heappush(free, (ends, worker))
            self.now = begins
            self.scheduler.take(JobStarted(job, worker))
        for ends, _, job in sorted(ended):
            if ends > self.budget.until:
                self.now = self.budget.until
                return
            self.now = ends
            for cell in job.cells:
                old = self.records.get(cell.id, Record())
                scores = old.scores if job.until is None else {**old.scores, job.until: cell.lr or 0.0}
                self.records[cell.id] = Record("done" if job.until is None else "pruned", job.until or 90, scores)
            self.scheduler.take(JobDone(job, 0, {cell.id: self.records[cell.id].status for cell in job.cells}))

    def _seconds(self, job: Job) -> float:
        done = self.records.get(job.cells[0].id, Record()).epochs
        return Costs().training(job) * ((job.until or 90) - done) / 90 + Costs().evaluation(job)

    @property
    def finished(self) -> set[tuple[str, Any]]:
        """Methods and numbers of images with a finished cell."""
        cells = [cell for job in JOBS for cell in job.cells]
        return {(c.method, c.per_class) for c in cells if self.records.get(c.id, Record()).status == "done"}


@pytest.mark.parametrize("slower", [0.4, 1.0, 2.5])
def test_the_time_is_used_and_kept(slower: float) -> None:
    machine = Machine("15m", lambda now: slower)
    machine.run()
    assert 0.6 * 900 <= machine.now <= machine.budget.until < 1.02 * 900


def test_a_faster_machine_finishes_more_and_drops_nothing() -> None:
    slow, fast = (Machine("10m", lambda now, s=s: s) for s in (3.0, 0.3))  # type: ignore[misc]
    slow.run()
    fast.run()
    assert slow.finished < fast.finished


def test_the_table_is_whole_on_a_machine_that_stays_as_it_is() -> None:
    machine = Machine("5m", lambda now: 1.5)
    machine.run()
    sizes = {name: {size for method, size in machine.finished if method == name} for name in METHODS}
    assert sizes["simclr"] == sizes["moco"] == sizes["byol"] == {5, 20}
    assert sizes["random"] == {5, 20, "all"}


@settings(max_examples=25)
@given(st.lists(st.floats(0.3, 4.0), min_size=6, max_size=6), st.integers(1, 4), st.sampled_from(["5m", "10m", "20m"]))
def test_however_the_speed_varies_the_time_is_kept(speeds: list[float], workers: int, budget: str) -> None:
    machine = Machine(budget, lambda now: speeds[min(5, int(6 * now / machine.budget.seconds))], workers)
    machine.run()
    everything = len(machine.finished) == 4 * 3 and not machine.scheduler.left_over
    assert machine.now <= machine.budget.until
    assert everything or machine.now >= 0.6 * machine.budget.seconds


def test_where_all_fits_all_is_finished() -> None:
    machine = Machine("1d", lambda now: 1.0)
    machine.run()
    assert {record.status for record in machine.records.values()} == {"done"}
    assert len(machine.records) == sum(len(job.cells) for job in JOBS)


def test_what_was_finished_before_is_not_run_again() -> None:
    machine = Machine("10m", lambda now: 1.0)
    machine.run()
    known: Mapping[str, Record] = dict(machine.records)
    more = Machine("10m", lambda now: 1.0)
    more.records.update(known)
    first = more.scheduler.next_round(JOBS, more.records)
    assert not {cell.id for job in first for cell in job.cells} & {c for c, r in known.items() if r.status == "done"}


def test_how_far_estimates_are_off_is_learnt_for_trainings_and_evaluations_by_themselves() -> None:
    costs, deviation = Costs(), Deviation()
    untrained, trained = (next(j for j in JOBS if j.cells[0].method == name) for name in ("random", "moco"))
    other = next(j for j in JOBS if j.cells[0].method == "byol")
    expected = SimpleNamespace(training=costs.training(trained), evaluation=costs.evaluation(trained))
    deviation.add(untrained, cast(Any, SimpleNamespace(training=0.0, evaluation=12.0)), 36.0)
    deviation.add(trained, cast(Any, expected), 3 * expected.evaluation + 20 * expected.training)
    assert deviation.correct(other, cast(Any, expected)) == (20 * expected.training, 3 * expected.evaluation)


def test_what_a_short_training_takes_beside_it_makes_no_long_one_look_longer() -> None:
    """3 s more in a job of 0.3 s of training and 3 s of the rest are none of the training's."""
    deviation = Deviation()
    short = next(j for j in JOBS if j.cells[0].method == "moco")
    deviation.add(short, Cost(0.3, 3.0), 6.3)
    assert deviation.correct(short, Cost(30.0, 3.0)) == (30.0, pytest.approx(6.0))


def test_a_promised_number_of_images_that_no_longer_fits_is_said_once() -> None:
    """Trainings of 100 s each by three methods with one worker are 417 s with a margin; half of the speed is 800 s."""
    machine = Machine("12m", lambda now: 2.0, workers=1)
    machine.scheduler.promised |= {"n20", "ninf"}
    machine.run()
    assert ("simclr", "all") not in machine.finished
    (sentence,) = machine.said
    assert sentence.startswith(
        "No longer fits into 12m, by what jobs have taken so far: all per class for simclr, moco and byol (about "
    )


def test_a_number_of_images_that_fits_again_comes_before_more_learning_rates() -> None:
    """A machine that is slow at first seems to have no time for it; then it is fast, and has."""
    machine = Machine("20m", lambda now: 4.0 if now < 400 else 0.5, workers=1)
    machine.run()
    assert {("simclr", "all"), ("moco", "all"), ("byol", "all")} <= machine.finished
