"""How far a study is, read from its folder: also while it runs, from another terminal or another machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from selfsup.execution.executors import executor_at_work
from selfsup.execution.executors._submission import Submission, Ticket, submissions
from selfsup.record.folder import StudyFolder
from selfsup.record.results import FAILED, FINAL, STATUSES


@dataclass(frozen=True)
class SubmittedJob:
    """A job that a cluster has been given.

    Attributes
    ----------
    job, executor, handle : str
        The job's id, who has it, and under which name.
    state : {"waiting", "running"}
    node : str or None
        Where it runs.
    epoch, epochs : int
        Epochs done and in all; 0 where there is no news yet.
    """

    job: str
    executor: str
    handle: str
    state: str
    node: str | None
    epoch: int
    epochs: int


@dataclass(frozen=True)
class StudyStatus:
    """How far a study is.

    Attributes
    ----------
    planned : int
        Cells that were asked for.
    statuses : dict
        Number of recorded cells by their status.
    submitted : tuple of SubmittedJob
        Jobs on a cluster.
    watched : bool
        Whether a ``selfsup run`` is at work on it.
    """

    planned: int
    statuses: dict[str, int]
    submitted: tuple[SubmittedJob, ...]
    watched: bool

    @property
    def finished(self) -> int:
        """Number of cells that need not run again."""
        return sum(count for status, count in self.statuses.items() if status in FINAL)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "finished": self.finished}

    def lines(self) -> Iterator[str]:
        """For people."""
        how = ", ".join(f"{count} {status}" for status, count in self.statuses.items())
        yield f"{self.finished} of {self.planned} cells{': ' + how if how else ''}"
        waiting = Counter(job.executor for job in self.submitted if job.state == "waiting")
        for job in self.submitted:
            if job.state == "running":
                progress = f"epoch {job.epoch}/{job.epochs}" if job.epochs else "starting"
                yield f"{job.job}: {progress} on {job.node} ({job.handle})"
        for executor, count in waiting.items():
            yield f"{count} waiting under --executor {executor}"
        if self.watched:
            yield "A selfsup run is at work on it."
        elif self.submitted:
            yield "No selfsup run is watching; the same command as before follows the jobs again."
        elif sum(self.statuses.values()) - self.statuses.get(FAILED, 0) < self.planned:
            yield "Nothing is at work on it; the same command as before goes on."


def study_status(folder: StudyFolder) -> StudyStatus:
    """How far the study in `folder` is.

    Raises
    ------
    UserError
        If nothing watches the study, and the cluster that has its jobs does not answer here.
    """
    counts = Counter(folder.statuses().values())
    statuses = {status: counts[status] for status in STATUSES if counts[status]}
    watched = folder.is_locked()
    at_work = watched or executor_at_work(folder) is not None
    found = submissions(folder) if at_work else []
    submitted = tuple(_read(submission, ticket) for submission, ticket in found)
    planned = folder.read_json("run.json").get("planned", sum(statuses.values()))
    return StudyStatus(planned, statuses, submitted, watched)


def _read(submission: Submission, ticket: Ticket) -> SubmittedJob:
    state, node, epoch, epochs = "waiting", None, 0, 0
    for event in submission.news():
        match event:
            case {"event": "started", "node": node}:
                state = "running"
            case {"event": "epoch", "epoch": epoch, "epochs": epochs}:
                pass
            case {"event": "paused"}:
                state, node = "waiting", None
    return SubmittedJob(submission.job_id, ticket.executor, ticket.handle, state, node, epoch, epochs)
