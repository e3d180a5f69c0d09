"""Runs one job on the node that a cluster chose for it, in a worker process, and keeps the job's journal."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from selfsup.executors import _protocol
from selfsup.executors._process import GRACE_SECONDS, WorkerProcess
from selfsup.executors._submission import Submission
from selfsup.grid import Job
from selfsup.record import StudyFolder


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


class Host:
    """One job on this node.

    Parameters
    ----------
    assignment : Assignment
    store : Path, optional
        This node's own copy of the decoded images.
    """

    def __init__(self, assignment: Assignment, store: Path | None = None) -> None:
        self.assignment, self.store = assignment, store
        self.folder = StudyFolder(Path(assignment.study))
        self.journal = Submission(self.folder, assignment.job.id)
        self.worker: WorkerProcess | None = None

    def serve(self) -> None:
        """Run the job to its end; whatever that is, it stands in the journal.

        An interrupt stops the job between two steps, with its checkpoint saved.
        """
        self.journal.tell("started", node=platform.node())
        log = self.folder.running / f"worker-{self.assignment.job.id}.log"
        self.worker = self._start(log)
        try:
            self._pass_on(self.worker)
        except KeyboardInterrupt:
            self.pause("stopped")
        finally:
            self.worker.kill()
            log.unlink(missing_ok=True)

    def pause(self, reason: str) -> None:
        """Have the checkpoint saved and the worker gone, so that the job can go on elsewhere."""
        assert self.worker is not None
        self.worker.stop()
        try:
            self.worker.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.worker.kill()
        self.journal.tell("paused", reason=reason)

    def _start(self, log: Path) -> WorkerProcess:
        wanted = self.assignment
        # Engines signal the process group of what they started; the worker is for this process to stop.
        return WorkerProcess(
            self.folder, wanted.device, wanted.precision, wanted.threads, log, store=self.store, own_session=True
        )

    def _pass_on(self, worker: WorkerProcess) -> None:
        ready = False
        for message in worker.messages():
            event = message.pop("event")
            if event == "ready":
                ready = True
                worker.send({"job": _protocol.job_to_dict(self.assignment.job)})
                continue
            self.journal.tell(event, **message)
            if event in ("done", "refused"):
                worker.stop()
                return
        if ready:
            self.journal.tell("died", reason=worker.why_it_died())
        else:
            self.journal.tell("refused", message=f"On {platform.node()}: {worker.could_not_start()}")
