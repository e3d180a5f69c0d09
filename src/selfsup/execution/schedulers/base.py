"""What a scheduler is: it compares trainings at rungs, and stops those that fall behind.

Trainings compete that differ only in augmentation and learning rate: of one method, on as many
images per class. A rung is an epoch at which those that have come so far are compared by what the
report chooses settings by: validation accuracy of the linear probe, or effective rank where there
are no labels. A training that goes on does so from its checkpoint, with the learning rates of a
training of full length, and so ends as if nobody had asked.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from selfsup.config.axes import COMPARED
from selfsup.config.grid import Job, unfinished
from selfsup.config.schema import StudyConfig
from selfsup.record.folder import StudyFolder
from selfsup.record.results import FINAL

#: What competes: augmentation and learning rate.
Setting = tuple[str | None, float | None]


@dataclass(frozen=True)
class Rungs:
    """The epochs at which trainings are compared: `first`, and each `factor` times the one before.

    Attributes
    ----------
    first : int
        At least 1.
    factor : int
        At least 2; of those that are compared, one in so many goes on.
    epochs : int
        Of a training of full length, which is no rung.
    """

    first: int
    factor: int
    epochs: int

    def __iter__(self) -> Iterator[int]:
        rung = self.first
        while rung < self.epochs:
            yield rung
            rung *= self.factor

    def kept(self, candidates: int) -> int:
        """How many of so many go on, rounded up."""
        return math.ceil(candidates / self.factor)

    def share(self, candidates: int) -> float:
        """Epochs of a group of so many candidates, as a share of those that all of them would take."""
        left, done, spent = candidates, 0, 0
        for rung in self if candidates > 1 else ():
            spent += left * (rung - done)
            left, done = self.kept(left), rung
        return (spent + left * (self.epochs - done)) / (candidates * self.epochs)


def rungs_of(config: StudyConfig) -> Rungs:
    """The rungs of a study; the first, unless it was set, leaves room for two comparisons."""
    first = config.min_epochs or math.ceil(config.epochs / config.reduction_factor**2)
    return Rungs(first, config.reduction_factor, config.epochs)


@dataclass(frozen=True)
class Record:
    """What is known of a cell.

    Attributes
    ----------
    status : str
        As in ``results.csv``; ``""`` where nothing is recorded.
    epochs : int
        Epochs that its training has come to.
    scores : mapping of int to float
        By rung.
    given_up : bool
        True if it failed in this run, which will not try it again.
    """

    status: str = ""
    epochs: int = 0
    scores: Mapping[int, float] = field(default_factory=dict)
    given_up: bool = False

    @property
    def over(self) -> bool:
        """Whether its training needs, or will get, no further epoch in this run."""
        return self.status in FINAL or self.given_up


def read_records(folder: StudyFolder, given_up: Collection[str] = ()) -> dict[str, Record]:
    """Records of all cells of a study by id; `given_up` names those that failed in this run."""
    return {
        cell: Record(row["status"], row["epochs"], read_scores(row), cell in given_up)
        for cell, row in folder.recorded().items()
    }


def read_scores(metrics: Mapping[str, Any]) -> dict[int, float]:
    """Scores of a cell by rung, from the content of its ``metrics.json``."""
    return {int(epoch): score for epoch, score in metrics.get("rung_scores", {}).items()}


class Scheduler:
    """Decides between trainings; as it is here, every one goes on to its last epoch.

    A module of this package is a scheduler if it holds one as ``scheduler``, a class that is made
    with the study's configuration and folder. The command asks :meth:`next_round` until there is
    nothing left to do; the process that trains asks :meth:`compares_at` and :meth:`goes_on`.
    """

    #: Whether a training that it stops may go on in a later round, so that its checkpoint is kept until the last.
    resumes: ClassVar[bool] = True

    def __init__(self, config: StudyConfig, folder: StudyFolder) -> None: ...

    def next_round(self, jobs: Sequence[Job], records: Mapping[str, Record]) -> list[Job]:
        """Those of the grid's jobs that are to run now, each without its finished cells; none if all is done."""
        return left_to_do(jobs, records)

    def compares_at(self, job: Job, epoch: int) -> bool:
        """Whether the training is to be scored after so many epochs."""
        return False

    def goes_on(self, job: Job, epoch: int, score: float) -> bool:
        """Whether a training with this score, higher is better, goes on now."""
        return True

    def share(self, candidates: int) -> float:
        """Expected epochs of a group of candidates, as a share of those that all of them would take."""
        return 1.0


def group_of(job: Job) -> str:
    """What a training competes within, as text: its method, network and number of images per class."""
    cell = job.cells[0]
    compared = "-".join(getattr(cell, name) for name in COMPARED)
    return f"{compared}-shared" if job.shared else f"{compared}-n{cell.per_class}"


def setting_of(job: Job) -> Setting:
    """The augmentation and learning rate of a job."""
    return job.cells[0].augmentation, job.cells[0].lr


def left_to_do(jobs: Iterable[Job], records: Mapping[str, Record]) -> list[Job]:
    """The jobs without the cells that are over; those of which nothing is left are not among them."""
    return unfinished(jobs, {cell for cell, record in records.items() if record.over})
