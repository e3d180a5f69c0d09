"""Runs jobs through an engine that has a queue of its own, and follows them by their journals."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from selfsup.config.grid import Job
from selfsup.errors import UserError
from selfsup.execution.executors._host import Assignment
from selfsup.execution.executors._outcome import ATTEMPTS, record_failure, recorded_statuses
from selfsup.execution.executors._process import GRACE_SECONDS
from selfsup.execution.executors._stop import StopFlag
from selfsup.execution.executors._submission import Submission, Ticket, submissions
from selfsup.execution.executors.base import EpochDone, JobDone, JobRetried, JobStarted, JobWarned, Listener, Resources
from selfsup.record.folder import StudyFolder

#: Seconds between two looks into the journals.
HEAR_SECONDS = 0.5
#: Seconds for which an engine may leave questions about the jobs without an answer.
SILENT_SECONDS = 600.0
#: How often a job may lose the machine below it before it counts as failed.
LOSSES = 20


@dataclass(frozen=True)
class JobEnd:
    """How a job ended in the eyes of its engine.

    Attributes
    ----------
    reason : str
        In words.
    lost : bool
        True if the machine went away, which is no fault of the job.
    refusal : str, optional
        Why no other job of the study would fare better.
    """

    reason: str
    lost: bool = False
    refusal: str | None = None


class Engine(Protocol):
    """What is needed of Ray, Slurm or another system that runs jobs on many machines.

    A handle is the engine's name of a job; a job keeps it while the engine moves it about.
    """

    #: Name of the executor.
    name: str
    #: Seconds between two questions about the jobs.
    ask_seconds: float

    def submit(self, assignments: Sequence[Assignment]) -> list[str]:
        """Queue jobs, each to run :meth:`selfsup.execution.executors._host.Host.serve` on some node; their handles."""
        ...

    def ended(self, handles: Collection[str]) -> dict[str, JobEnd]:
        """Those of the jobs that neither wait nor run any more.

        Raises
        ------
        UserError
            If there is no answer.
        """
        ...

    def stop(self, handles: Collection[str]) -> None:
        """Drop jobs that wait, and interrupt those that run."""
        ...

    def kill(self, handles: Collection[str]) -> None:
        """End jobs, whatever they do."""
        ...


@dataclass
class _Handed:
    """A job that the engine has, and what was heard of it."""

    job: Job
    submission: Submission
    ticket: Ticket
    worker: int | None = None
    end: JobEnd | None = None


class RemoteRun:
    """One run: hands jobs to the engine, and hears of them until all are recorded.

    If this process dies, what becomes of the jobs is the engine's affair. Those that go on are
    followed by the next run, which reads their journals from the beginning.
    """

    def __init__(
        self, engine: Engine, folder: StudyFolder, jobs: Sequence[Job], resources: Resources, listener: Listener
    ) -> None:
        self.engine, self.folder, self.resources, self.listener = engine, folder, resources, listener
        self.jobs = jobs
        self.waiting: deque[tuple[Job, Ticket]] = deque()
        self.handed: dict[str, _Handed] = {}
        self.refusal: str | None = None
        self._asked = self._answered = time.monotonic()

    def run(self, most: int | None = None) -> None:
        """Run all jobs, `most` of them at a time.

        Raises
        ------
        Interrupted
            On Ctrl-C or SIGTERM, after the running jobs saved their checkpoints.
        UserError
            If a node says that going on is pointless; if the engine takes no jobs, or says nothing of them for long.
            Those that it has go on then, and the next run follows them.
        """
        with StopFlag() as stop:
            try:
                self._reattach()
                while (self.waiting or self.handed) and not stop() and self.refusal is None:
                    self._hand_out(most)
                    time.sleep(HEAR_SECONDS)
                    self._hear()
                    if time.monotonic() - self._asked >= self.engine.ask_seconds:
                        self._ask()
            except UserError:  # the engine's own
                self.handed.clear()
                raise
            finally:
                self._shut_down(stop)
            if self.refusal is not None:
                raise UserError(self.refusal)
            stop.raise_if_set()

    # -- handing out -----------------------------------------------------------------------------

    def _reattach(self) -> None:
        """Follow the jobs that an earlier run handed out and that are at work; the others wait."""
        wanted = {job.id: job for job in self.jobs}
        held = [found for found in submissions(self.folder) if found[1].executor == self.engine.name]
        ended = self.engine.ended([ticket.handle for _, ticket in held])
        for submission, ticket in held:
            if ticket.handle in ended:
                submission.end()
            elif submission.job_id in wanted:
                job = wanted.pop(submission.job_id)
                self.handed[job.id] = _Handed(job, submission, ticket)
        self.waiting.extend((job, Ticket(self.engine.name, "")) for job in wanted.values())

    def _hand_out(self, most: int | None) -> None:
        room = len(self.waiting) if most is None else most - len(self.handed)
        batch = [self.waiting.popleft() for _ in range(min(room, len(self.waiting)))]
        if not batch:
            return
        submitted = [Submission(self.folder, job.id) for job, _ in batch]
        for submission in submitted:
            submission.begin()
        handles = self.engine.submit([self._assignment(job) for job, _ in batch])
        for (job, ticket), submission, handle in zip(batch, submitted, handles, strict=True):
            ticket = replace(ticket, handle=handle)
            submission.write_ticket(ticket)
            self.handed[job.id] = _Handed(job, submission, ticket)

    def _assignment(self, job: Job) -> Assignment:
        hardware = self.resources.hardware
        study = str(self.folder.path.resolve())
        return Assignment(study, job, hardware.device, hardware.precision, self.resources.threads)

    # -- hearing ---------------------------------------------------------------------------------

    def _hear(self) -> None:
        for handed in list(self.handed.values()):
            for event in handed.submission.news():
                getattr(self, f"_on_{event.pop('event')}")(handed, **event)

    def _on_started(self, handed: _Handed, node: str) -> None:
        taken = {other.worker for other in self.handed.values()}
        if handed.worker is None:
            handed.worker = next(number for number in itertools.count() if number not in taken)
        self.listener(JobStarted(handed.job, handed.worker))

    def _on_epoch(self, handed: _Handed, epoch: int, epochs: int, loss: float, rate: float) -> None:
        self.listener(EpochDone(handed.job, handed.worker or 0, epoch, epochs, loss, rate))

    def _on_warned(self, handed: _Handed, message: str) -> None:
        self.listener(JobWarned(handed.job, handed.worker or 0, message))

    def _on_paused(self, handed: _Handed, reason: str) -> None:
        """It waits again, for the engine to move it; or it was stopped by this run."""
        self.listener(JobRetried(handed.job, handed.worker or 0, reason))
        handed.worker = None

    def _on_refused(self, handed: _Handed, message: str) -> None:
        self.refusal = message

    def _on_died(self, handed: _Handed, reason: str) -> None:
        self._try_again(handed, JobEnd(reason))

    def _ask(self) -> None:
        """Ask the engine which jobs ended without a word: their node died, or somebody cancelled them."""
        self._asked = time.monotonic()
        ends = self._ended({handed.ticket.handle for handed in self.handed.values()})
        for handed in list(self.handed.values()):
            end = ends.get(handed.ticket.handle)
            if end is None:
                continue
            if handed.end is None:
                handed.end = end  # its last words may still be on their way: believe it the second time
            elif statuses := recorded_statuses(self.folder, handed.job):
                self._on_done(handed, statuses)
            elif end.refusal is not None:
                self.refusal = end.refusal
            else:
                self._try_again(handed, end)

    def _ended(self, handles: Collection[str]) -> dict[str, JobEnd]:
        """Those of the jobs that ended, none where there is no answer: a controller that starts anew gives none."""
        try:
            ends = self.engine.ended(handles)
        except UserError:
            if time.monotonic() - self._answered > SILENT_SECONDS:
                raise
            return {}
        self._answered = time.monotonic()
        return ends

    def _try_again(self, handed: _Handed, end: JobEnd) -> None:
        old = handed.ticket
        ticket = replace(old, attempts=old.attempts + (not end.lost), losses=old.losses + end.lost)
        if ticket.attempts < ATTEMPTS and ticket.losses < LOSSES:
            self.listener(JobRetried(handed.job, handed.worker or 0, end.reason))
            self._forget(handed)
            self.waiting.appendleft((handed.job, ticket))
        else:
            self._on_done(handed, record_failure(self.folder, handed.job, end.reason))

    def _on_done(self, handed: _Handed, statuses: dict[str, str]) -> None:
        self._forget(handed)
        self.listener(JobDone(handed.job, handed.worker or 0, statuses))

    def _forget(self, handed: _Handed) -> None:
        handed.submission.end()
        del self.handed[handed.job.id]

    # -- stopping --------------------------------------------------------------------------------

    def _shut_down(self, stop: StopFlag) -> None:
        """Ask all to save and go; after the grace, or a second Ctrl-C, end them."""
        if not self.handed:
            return
        handles = {handed.ticket.handle for handed in self.handed.values()}
        self.engine.stop(handles)
        deadline = time.monotonic() + GRACE_SECONDS
        while left := handles - set(self._ended(handles)):
            if stop.at_once or time.monotonic() >= deadline:
                break
            time.sleep(HEAR_SECONDS)
        if left:
            self.engine.kill(left)
        for handed in list(self.handed.values()):
            self._hear_the_end(handed)

    def _hear_the_end(self, handed: _Handed) -> None:
        """Count a job that was done while the study was being stopped."""
        events: dict[str, Any] = {event["event"]: event for event in handed.submission.news()}
        if "done" in events:
            self._on_done(handed, events["done"]["statuses"])
        else:
            self._forget(handed)
