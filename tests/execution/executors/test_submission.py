"""Ticket and journal of a job on a cluster: what a crash may lose, and what it may not."""

from __future__ import annotations

from pathlib import Path

from selfsup.config.grid import Cell
from selfsup.execution.executors._submission import Submission, Ticket, submissions
from selfsup.execution.status import study_status
from selfsup.record.folder import StudyFolder
from selfsup.record.results import CellResult


def begin(tmp_path: Path, job: str = "byol-resnet18-weak-lr0.1-nall-s0") -> Submission:
    submission = Submission(StudyFolder(tmp_path), job)
    submission.begin()
    return submission


def test_events_are_read_once_and_in_order(tmp_path: Path) -> None:
    node, reader = begin(tmp_path), begin(tmp_path)
    assert list(reader.news()) == []
    node.append("started", node="n1")
    node.append("epoch", epoch=1, epochs=9, loss=None, rate=3.5)
    assert [event["event"] for event in reader.news()] == ["started", "epoch"]
    node.append("done", statuses={"a": "done"})
    assert list(reader.news()) == [{"event": "done", "statuses": {"a": "done"}}]
    assert list(reader.news()) == []


def test_a_line_torn_by_a_crash_swallows_no_other(tmp_path: Path) -> None:
    node = begin(tmp_path)
    node.append("started", node="n1")
    journal = StudyFolder(tmp_path).submitted / "byol-resnet18-weak-lr0.1-nall-s0.jsonl"
    with open(journal, "ab") as file:
        file.write(b'\n{"event": "epo')
    node.append("started", node="n2")
    assert [event["node"] for event in node.news()] == ["n1", "n2"]


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    reader = begin(tmp_path)
    journal = StudyFolder(tmp_path).submitted / "byol-resnet18-weak-lr0.1-nall-s0.jsonl"
    journal.write_bytes(b'\n{"event": "started", ')
    assert list(reader.news()) == []
    with open(journal, "ab") as file:
        file.write(b'"node": "n1"}\n')
    assert [event["node"] for event in reader.news()] == ["n1"]


def test_tickets_tell_later_runs_who_has_which_job(tmp_path: Path) -> None:
    submission = begin(tmp_path)
    assert submission.ticket() is None
    submission.write_ticket(Ticket("slurm", "slurm:12_3", attempts=1))
    ((found, ticket),) = submissions(StudyFolder(tmp_path))
    assert (found.job_id, ticket) == ("byol-resnet18-weak-lr0.1-nall-s0", Ticket("slurm", "slurm:12_3", attempts=1))
    submission.end()
    assert submissions(StudyFolder(tmp_path)) == []


def test_status_shows_where_each_job_is(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    folder.create()
    running, paused, waiting = (begin(tmp_path, f"moco-resnet18-weak-lr{lr}-n5-s0") for lr in (1, 2, 3))
    for number, submission in enumerate((running, paused, waiting)):
        submission.write_ticket(Ticket("slurm", f"slurm:7_{number}"))
    running.append("started", node="n1")
    running.append("epoch", epoch=4, epochs=9, loss=0.1, rate=3.5)
    paused.append("started", node="n1")
    paused.append("paused", reason="its time was up")
    folder.write_json("run.json", {"planned": 5})
    with folder.lock():
        status = study_status(folder)
    assert [(job.state, job.node, job.epoch) for job in status.submitted] == [
        ("running", "n1", 4),
        ("waiting", None, 0),
        ("waiting", None, 0),
    ]
    assert list(status.lines()) == [
        "0 of 5 cells",
        "moco-resnet18-weak-lr1-n5-s0: epoch 4/9 on n1 (slurm:7_0)",
        "2 waiting under --executor slurm",
        "A selfsup run is at work on it.",
    ]


def test_tickets_of_a_run_that_died_with_its_jobs_are_not_shown_as_work(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    folder.create()
    begin(tmp_path).write_ticket(Ticket("ray", "00ff"))
    folder.write_json("run.json", {"planned": 5})
    assert list(study_status(folder).lines()) == [
        "0 of 5 cells",
        "Nothing is at work on it; the same command as before goes on.",
    ]


def test_status_counts_what_failed_or_waits_as_unfinished(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    folder.create()
    for seed, status in enumerate(("done", "collapsed", "failed", "pruned")):
        folder.write_cell(CellResult.of(Cell("moco", "resnet18", "weak", 0.1, 5, seed), status), {})
    folder.write_json("run.json", {"planned": 4})
    assert list(study_status(folder).lines()) == [
        "2 of 4 cells: 1 done, 1 collapsed, 1 pruned, 1 failed",
        "Nothing is at work on it; the same command as before goes on.",
    ]
