"""Runs one job on the node that a cluster chose for it, in a worker process, and keeps the job's journal."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from selfsup.config.grid import Job
from selfsup.execution.executors._outcome import recorded_statuses
from selfsup.execution.executors._process import GRACE_SECONDS, WorkerProcess
from selfsup.execution.executors._submission import Submission
from selfsup.record.folder import StudyFolder


@dataclass(frozen=True)
class Assignment:
    """A job and what a node must know to run it.

    Attributes
    ----------
    study : str
        The study's folder, on a file system that the node shares.
    job : Job
    device, precision : str
    threads : int
    """

    study: str
    job: Job
    device: str
    precision: str
    threads: int


#: Workers that have done a job and wait for the next, by what they were started with.
_idle: dict[tuple[object, ...], WorkerProcess] = {}


class Host:
    """One job on this node.

    Parameters
    ----------
    assignment : Assignment
    store : Path, optional
        This node's own copy of the decoded images.
    keep : bool
        Keep the worker for this process's next job of the study: it takes seconds to start.
    """

    def __init__(self, assignment: Assignment, store: Path | None = None, *, keep: bool = False) -> None:
        self.assignment, self.store, self.keep = assignment, store, keep
        self.folder = StudyFolder(Path(assignment.study))
        self.journal = Submission(self.folder, assignment.job.id)
        self.worker: WorkerProcess | None = None

    def serve(self) -> None:
        """Run the job to its end; whatever that is, it stands in the journal.

        An interrupt stops the job between two steps, with its checkpoint saved.
        """
        self.journal.append("started", node=platform.node())
        if statuses := recorded_statuses(self.folder, self.assignment.job):
            # It was interrupted so late that its worker finished, and its engine queued it again nevertheless.
            self.journal.append("done", statuses=statuses)
            return
        kind = (self.assignment.study, self.assignment.device, self.assignment.precision, self.assignment.threads)
        idle = _idle.pop((*kind, self.store), None)
        self.worker = idle if idle is not None and idle.process.poll() is None else self._start()
        try:
            done = self._run(self.worker)
            if done and self.keep:
                _idle[*kind, self.store] = self.worker
                return
        except KeyboardInterrupt:
            self.pause("stopped")
        self.worker.kill()

    def pause(self, reason: str) -> None:
        """Have the checkpoint saved and the worker gone, so that the job can go on elsewhere.

        In a signal handler too. Where that has come while the worker's end is waited for, there is nothing to save,
        and waiting for it here would need a lock that the interrupted wait holds.
        """
        if self.worker is None or self.worker.leaving:
            return
        self.worker.stop()
        try:
            self.worker.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.worker.kill()
        self.journal.append("paused", reason=reason)

    def _start(self) -> WorkerProcess:
        wanted = self.assignment
        # Engines signal the process group of what they started; the worker is for this process to stop.
        worker = WorkerProcess(own_session=True)
        worker.open_study(self.folder, wanted.device, wanted.precision, wanted.threads, self.store)
        return worker

    def _run(self, worker: WorkerProcess) -> bool:
        """Pass on what the worker says; True if it did the job and can take another."""
        if not worker.wait_until_ready():  # it was killed as it started, perhaps
            worker = self.worker = self._start()
        if not worker.wait_until_ready():
            self.journal.append("refused", message=f"On {platform.node()}: {worker.could_not_start()}")
            return False
        worker.send({"job": self.assignment.job.to_dict()})
        for message in worker.messages():
            event = message.pop("event")
            self.journal.append(event, **message)
            if event in ("done", "refused"):
                return bool(event == "done")
        if worker.process.returncode == 0:  # SIGTERM: it saved its checkpoint and went
            self.journal.append("paused", reason="it was told to stop on its node")
        else:
            self.journal.append("died", reason=worker.why_it_died())
        return False
