"""Begins what fits into the time that is left, by how long jobs have taken so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from selfsup.config.durations import seconds_in
from selfsup.config.grid import Job
from selfsup.data.sources.base import silent
from selfsup.execution.budgets.budget import MARGIN, Block, Cost, candidate_of, next_that_fits, waiting, wall_seconds
from selfsup.execution.budgets.job_costs import JobCosts
from selfsup.execution.executors.base import Event, JobDone, JobStarted
from selfsup.execution.grid_words import rows
from selfsup.execution.progress import SECONDS_PER_CELL
from selfsup.execution.schedulers.base import Record, Scheduler, left_to_do
from selfsup.execution.words import format_duration
from selfsup.record.results import PRUNED

#: Seconds kept for the report and the table at the end, and the share of a budget; on a slow machine, a share of what
#: it took to prepare the study; at most so many seconds in all.
RESERVE_SECONDS, RESERVE_SHARE, PREPARED_SHARE, RESERVE_MOST = 8.0, 0.02, 0.3, 60.0
#: Share of a budget that may stay unused where nothing that is left fits; else the next block is begun all the same.
UNUSED = 0.3
#: By how much running jobs may exceed a budget, as a share of it, before they wait with their checkpoints.
GRACE = 0.04
#: What an earlier job counts beside the one after it, in how much longer jobs take than was estimated.
MEMORY = 0.5
#: How jobs end that tell how long such jobs take.
TELLING = {"done", "collapsed", PRUNED}


@dataclass(frozen=True)
class Budget:
    """The time of one command, such as ``2h``; when it began, and when jobs could begin, on the monotonic clock."""

    text: str
    began: float
    prepared: float

    @property
    def seconds(self) -> int:
        """All of it."""
        return seconds_in(self.text)

    @property
    def ends(self) -> float:
        """When the jobs are to be done, so that the report is in time."""
        kept = max(RESERVE_SECONDS + RESERVE_SHARE * self.seconds, PREPARED_SHARE * (self.prepared - self.began))
        return self.began + self.seconds - min(RESERVE_MOST, kept)

    @property
    def until(self) -> float:
        """When those that are not done wait with their checkpoints."""
        return self.ends + GRACE * self.seconds


class Deviation:
    """How many times longer jobs take than was estimated, in training and in evaluation; the last ones count most."""

    def __init__(self) -> None:
        self._sums: dict[object, tuple[float, float]] = {}

    def add(self, job: Job, expected: Cost, taken: float) -> None:
        """A job was expected to take `expected`, and has taken so many seconds."""
        if expected.training < expected.evaluation:  # what such a job takes beside it says nothing of long trainings
            trained = min(self._of(candidate_of(job), "training") * expected.training, taken / 2)
            if job.until is None:  # else it is compared by its probe alone
                self._add("evaluation", expected.evaluation, taken - trained)
            return
        evaluation = self._of("evaluation") * expected.evaluation
        for key in (candidate_of(job), "training"):  # no less than half of its time, however far off the evaluation is
            self._add(key, expected.training, max(taken - evaluation, taken / 2))

    def correct(self, job: Job, expected: Cost) -> Cost:
        """What the job is to take by now, as jobs of its method and network did, or else all that train."""
        training = self._of(candidate_of(job), "training")
        return Cost(training * expected.training, self._of("evaluation") * expected.evaluation)

    def _add(self, key: object, expected: float, taken: float) -> None:
        sums = self._sums.get(key, (0.0, 0.0))
        self._sums[key] = (MEMORY * sums[0] + expected, MEMORY * sums[1] + taken)

    def _of(self, *keys: object) -> float:
        """By the first of the keys that is known; 1 if none is."""
        sums = next((self._sums[key] for key in keys if key in self._sums), (1.0, 1.0))
        return sums[1] / sums[0]


class BudgetedScheduler(Scheduler):
    """Begins one block after another as long as they fit, and lets the study's scheduler decide within them.

    What it decides is which cells are finished, and nothing that their numbers depend on.

    Parameters
    ----------
    inner : Scheduler
    blocks : sequence of Block
        In the order in which they are wanted.
    costs : JobCosts
    records : mapping of str to Record
        What is known of the cells at first.
    workers : int
    budget : Budget
    clock : callable, optional
    say : callable, optional
        Takes the sentence that something which was :attr:`promised` no longer fits.

    Attributes
    ----------
    promised : set of str
        Names of the blocks that were said to fit, and not yet that they do not.
    """

    resumes: ClassVar[bool] = True

    def __init__(
        self,
        inner: Scheduler,
        blocks: Sequence[Block],
        costs: JobCosts,
        records: Mapping[str, Record],
        workers: int,
        budget: Budget,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[[str], object] = silent,
    ) -> None:
        self._inner, self._blocks = inner, blocks
        self._know(records)
        self._workers, self._budget, self._clock, self._say = workers, budget, clock, say
        self.promised: set[str] = set()
        self._epochs = costs.config.epochs
        self._category = costs.items.category
        self._cost = cache(lambda job: Cost(costs.training(job), costs.evaluation(job)))
        self._deviation = Deviation()
        self._taken: list[Block] = []
        self._expected: dict[str, Cost] = {}
        self._since: dict[str, float] = {}

    @property
    def left(self) -> float:
        """Seconds that are left for jobs."""
        return self._budget.ends - self._clock()

    @property
    def left_over(self) -> bool:
        """Whether any training waits, or a scheduler has stopped some that may still go on."""
        return bool(self._begun() or waiting(self._blocks, self._taken))

    def next_round(self, jobs: Sequence[Job], records: Mapping[str, Record]) -> list[Job]:
        self._know(records)
        pending: list[Block] = []
        wanted = self._begun()
        while self._takes_more(wanted, pending):
            block = next_that_fits(self._blocks, self._taken, pending, self._wall, self.left)
            if block is None and not wanted and self.left > UNUSED * self._budget.seconds:
                block = next(iter(waiting(self._blocks, self._taken)), None)
            if not (pending or (block and block.leads)) and self.left > 0:
                self._say_what_no_longer_fits()
            if block is None:
                break
            self._taken.append(block)
            pending.append(block)
            wanted = self._begun()
        if self.left <= 0:
            return []
        self._expected = {job.id: self._estimate(job) for job in wanted}
        return wanted

    def take(self, event: Event) -> None:
        """Learn from a job how long such jobs take."""
        if isinstance(event, JobStarted):
            self._since[event.job.id] = self._clock()
        elif isinstance(event, JobDone) and event.job.id in self._expected and {*event.statuses.values()} <= TELLING:
            taken = self._clock() - self._since[event.job.id]
            self._deviation.add(event.job, self._expected[event.job.id], taken)

    def cost_of(self, job: Job) -> Cost:
        """What is left of a job, by how long such jobs have taken so far."""
        return self._deviation.correct(job, self._estimate(job))

    def _know(self, records: Mapping[str, Record]) -> None:
        self._records, self._over = records, {cell for cell, record in records.items() if record.over}

    def _say_what_no_longer_fits(self) -> None:
        """Of what was promised and the table needs whole, what now comes after other learning rates, or not at all."""
        gone = [b for b in waiting(self._blocks, self._taken) if b.leads and b.name in self.promised]
        if gone:
            self.promised -= {block.name for block in gone}
            cells = [cell for block in gone for job in block.jobs for cell in job.cells]
            self._say(
                f"No longer fits into {self._budget.text}, by what jobs have taken so far: "
                f"{rows(cells, self._category)} (about {format_duration((1 + MARGIN) * self._wall(gone))} with a "
                f"margin, and {format_duration(self.left)} are left)."
            )

    def _takes_more(self, wanted: Sequence[Job], pending: Sequence[Block]) -> bool:
        """Whether workers would soon be idle; trainings that compete with each other are left to themselves."""
        return not wanted or (len(wanted) < 2 * self._workers and bool(pending) and all(b.leads for b in pending))

    def _begun(self) -> list[Job]:
        """What the blocks that were taken are to do next."""
        ending = {job.id: job for block in self._taken if block.to_the_end for job in block.jobs}
        going = {job.id: job for block in self._taken if not block.to_the_end for job in block.jobs}
        wanted = [job for job in self._inner.next_round(list(going.values()), self._records) if job.id not in ending]
        return [*wanted, *left_to_do(ending.values(), self._records)]

    def _wall(self, blocks: Sequence[Block]) -> float:
        return wall_seconds(blocks, self.cost_of, self._workers)

    def _estimate(self, job: Job) -> Cost:
        """What is left of a job, by the timed steps."""
        left = job.without(self._over)
        if left is None:
            return Cost(0.0, 0.0)
        found = [self._records.get(cell.id, Record()) for cell in left.cells]
        done = min(record.epochs if record.status == PRUNED else 0 for record in found)
        training, evaluation = self._cost(left)
        if job.until is not None:  # where it is compared by its probe alone
            evaluation -= SECONDS_PER_CELL * len(left.cells)
        return Cost(training * ((job.until or self._epochs) - done) / self._epochs, evaluation)
