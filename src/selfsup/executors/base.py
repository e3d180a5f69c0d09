"""What an executor is: it runs jobs somewhere, and tells what happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from selfsup.device import Hardware
from selfsup.grid import Job
from selfsup.record import StudyFolder


@dataclass(frozen=True)
class JobStarted:
    """A worker took up a job."""

    job: Job
    worker: int


@dataclass(frozen=True)
class EpochDone:
    """A running job finished an epoch."""

    job: Job
    worker: int
    epoch: int
    epochs: int
    loss: float
    images_per_second: float


@dataclass(frozen=True)
class JobDone:
    """All cells of a job are recorded; `statuses` by cell id."""

    job: Job
    worker: int
    statuses: dict[str, str]


@dataclass(frozen=True)
class JobRetried:
    """A job's worker died; the job goes on from its checkpoint in another."""

    job: Job
    worker: int
    reason: str


Event = JobStarted | EpochDone | JobDone | JobRetried
Listener = Callable[[Event], None]


@dataclass(frozen=True)
class Resources:
    """What a study may use on this machine."""

    hardware: Hardware
    workers: int
    threads: int


class Executor(Protocol):
    """Runs jobs; every cell is recorded in the folder when `run` returns."""

    def run(self, folder: StudyFolder, jobs: Sequence[Job], resources: Resources, listener: Listener) -> None:
        """Run `jobs`, in any order, in as many processes as `resources` allows.

        A job that cannot be finished is recorded as ``failed`` with its log; the others go on.

        Raises
        ------
        Interrupted
            On Ctrl-C or SIGTERM, after the running jobs saved their checkpoints.
        UserError
            If going on is pointless, for example because the disk is full.
        """
        ...
