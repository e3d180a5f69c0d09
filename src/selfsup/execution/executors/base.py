"""What an executor is: it runs jobs somewhere, and tells what happens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import ConfigDict

from selfsup.config.field_roles import Options

if TYPE_CHECKING:
    from selfsup.config.grid import Job
    from selfsup.config.schema import StudyConfig
    from selfsup.record.folder import StudyFolder
    from selfsup.training.device import Hardware


class ExecutorOptions(Options):
    """What a user can tell an executor; every field is an option of the command line, with ``-`` for ``_``.

    Fields of two executors may share a name where they mean the same. This module, and the top of
    every executor's, import nothing heavy: the command line reads the options of all executors.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class JobStarted:
    """A worker began a job."""

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
    """A job's worker is gone; the job goes on from its checkpoint in another."""

    job: Job
    worker: int
    reason: str


@dataclass(frozen=True)
class JobWarned:
    """A job goes on, but not as was asked; `message` is a sentence on it, the same for all jobs that it holds for."""

    job: Job
    worker: int
    message: str


Event = JobStarted | EpochDone | JobDone | JobRetried | JobWarned
Listener = Callable[[Event], None]


@dataclass(frozen=True)
class Resources:
    """What a study may use: of this machine, or of each node that an executor reaches.

    `until` is when its jobs are to stop as if they were interrupted, on the monotonic clock; None for never.
    """

    hardware: Hardware
    workers: int
    threads: int
    until: float | None = None


class Resolve(Protocol):
    """Resolves ``auto`` for a machine."""

    def __call__(self, config: StudyConfig, jobs: int) -> Resources: ...


class Executor(ABC):
    """Runs jobs; every cell is recorded in the folder when `run` returns.

    A module of this package is an executor if it holds one as ``executor``, a class that is made
    with its options. What is not abstract here is so for one that runs its jobs on this machine.
    """

    Options: ClassVar[type[ExecutorOptions]] = ExecutorOptions
    #: Whether the jobs run on this machine, which then must have the device.
    here: ClassVar[bool] = True

    def __init__(self, options: Any) -> None:
        self.options = options

    def resources(self, config: StudyConfig, jobs: int, this_machine: Resolve) -> Resources:
        """Device, precision, workers and threads where the jobs will run; `this_machine` resolves them for this one."""
        return this_machine(config, jobs)

    def standing_by(self) -> AbstractContextManager[None]:
        """Entered while a study is prepared and run: the executor may make ready what it will need, or refuse."""
        return nullcontext()

    def has_jobs(self, folder: StudyFolder) -> bool:
        """Whether jobs that an earlier run handed out are still at work, with nobody watching them."""
        return False

    @abstractmethod
    def run(self, folder: StudyFolder, jobs: Sequence[Job], resources: Resources, listener: Listener) -> None:
        """Run `jobs`, in any order, in as many processes as `resources` allows.

        A job that cannot be finished is recorded as ``failed`` with its log; the others go on.

        Raises
        ------
        Interrupted
            On Ctrl-C or SIGTERM, after the running jobs saved their checkpoints; with the signal 0 when it is over
            with the time of `resources`.
        UserError
            If going on is pointless, for example because the disk is full.
        """
