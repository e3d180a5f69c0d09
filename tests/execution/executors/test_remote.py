"""Jobs that an engine has, where it does not answer for a while, or not at all."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from selfsup.config.grid import Cell, Job
from selfsup.errors import UserError
from selfsup.execution.executors import _remote
from selfsup.execution.executors._host import Assignment
from selfsup.execution.executors._remote import JobEnd, RemoteRun
from selfsup.execution.executors._submission import Submission, submissions
from selfsup.execution.executors.base import Event, JobDone, JobWarned, Resources
from selfsup.record.folder import StudyFolder
from selfsup.training.device import Hardware

JOB = Job((Cell("moco", "resnet18", "weak", 0.1, 5, 0),))


class Engine:
    """Leaves so many questions without an answer; then the job is done."""

    name, ask_seconds = "slurm", 0.0

    def __init__(self, folder: StudyFolder, silent: int) -> None:
        self.folder, self.silent = folder, silent
        self.stopped: list[str] = []

    def submit(self, assignments: Sequence[Assignment]) -> list[str]:
        return ["slurm:7_0"]

    def ended(self, handles: Collection[str]) -> dict[str, JobEnd]:
        if handles and self.silent:
            self.silent -= 1
            raise UserError("Slurm does not answer; its jobs go on, so try again later.")
        if handles:
            journal = Submission(self.folder, JOB.id)
            journal.append("warned", message="It cannot be fused.")
            journal.append("done", statuses={JOB.cells[0].id: "done"})
        return {}

    def stop(self, handles: Collection[str]) -> None:
        self.stopped += handles

    kill = stop


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    monkeypatch.setattr(_remote, "HEAR_SECONDS", 0.0)
    study = StudyFolder(tmp_path)
    study.create()
    return study


def run(engine: Engine) -> list[Event]:
    heard: list[Event] = []
    RemoteRun(engine, engine.folder, [JOB], Resources(Hardware("cpu", "fp32"), 1, 1), heard.append).run()
    return heard


def test_a_question_without_an_answer_is_asked_again(folder: StudyFolder) -> None:
    engine = Engine(folder, silent=2)
    *_, last = run(engine)
    assert isinstance(last, JobDone)
    assert engine.stopped == []


def test_what_a_job_could_not_do_is_heard_from_its_node(folder: StudyFolder) -> None:
    first, _ = run(Engine(folder, silent=0))
    assert first == JobWarned(JOB, 0, "It cannot be fused.")


def test_jobs_of_an_engine_that_is_silent_go_on_for_the_next_run_to_follow(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_remote, "SILENT_SECONDS", -1.0)
    engine = Engine(folder, silent=9)
    with pytest.raises(UserError, match="its jobs go on"):
        run(engine)
    assert engine.stopped == []
    assert [ticket.handle for _, ticket in submissions(folder)] == ["slurm:7_0"]
