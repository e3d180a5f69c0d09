"""What runs a job on a node: its journal says how the job ended, and its worker can take the next."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import selfsup
from selfsup.config.grid import Cell, Job
from selfsup.execution.executors._host import Assignment, Host
from selfsup.execution.executors._process import WorkerProcess
from selfsup.execution.executors._submission import Submission
from selfsup.record.folder import StudyFolder
from selfsup.testing.executors import TINY_STUDY

pytestmark = pytest.mark.usefixtures("without_pictures")

EPOCHS = 100


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> StudyFolder:
    """A study that is ready to run cells, of few epochs unless a test asks for more."""
    epochs = getattr(request, "param", 2)
    grid = {**TINY_STUDY, "methods": "random", "epochs": epochs, "checkpoint_seconds": 1000}
    return selfsup.compare("digits", out=tmp_path / "study", executor="inline", **grid).folder


def assignment(folder: StudyFolder, lr: float) -> Assignment:
    job = Job((Cell("supervised", "test_resnet", "weak", lr, 5, 0),))
    Submission(folder, job.id).begin()
    return Assignment(str(folder.path), job, "cpu", "fp32", 1)


def events(folder: StudyFolder, given: Assignment) -> list[dict[str, Any]]:
    return list(Submission(folder, given.job.id).news())


@pytest.mark.parametrize("folder", [EPOCHS], indirect=True)
def test_a_worker_that_is_told_to_stop_saves_and_the_next_host_goes_on(folder: StudyFolder) -> None:
    given = assignment(folder, 0.03)
    host = Host(given)
    served = threading.Thread(target=host.serve)
    served.start()
    deadline = time.monotonic() + 60
    while not any(event["event"] == "epoch" for event in events(folder, given)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert host.worker is not None
    host.worker.process.terminate()  # as Slurm does to every process of a job
    served.join(60)
    first = events(folder, given)
    assert first[-1] == {"event": "paused", "reason": "it was told to stop on its node"}
    assert folder.checkpoint(given.job.id).exists()
    Host(given).serve()
    second = events(folder, given)[len(first) :]
    assert [event["event"] for event in second if event["event"] != "epoch"] == ["started", "done"]
    trained = [event["epoch"] for event in first + second if event["event"] == "epoch"]
    assert trained == list(range(1, EPOCHS + 1)), "no epoch was trained twice"


def test_a_kept_worker_takes_the_next_job(folder: StudyFolder) -> None:
    first = Host(assignment(folder, 0.01), keep=True)
    first.serve()
    second = Host(assignment(folder, 0.02), keep=True)
    second.serve()
    assert first.worker is second.worker
    assert second.worker is not None
    second.worker.kill()
    third = Host(assignment(folder, 0.04))
    third.serve()
    assert third.worker is not second.worker, "a dead worker is replaced"
    for host in (first, second, third):
        assert events(folder, host.assignment)[-1]["event"] == "done"
    again = Host(first.assignment)
    again.serve()
    assert again.worker is None, "what is recorded is not run again"
    assert events(folder, first.assignment)[-1]["event"] == "done"


def test_a_node_on_which_no_worker_can_start_says_why(
    folder: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('this node has no torch')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    given = assignment(folder, 0.03)
    Host(given).serve()
    assert [event["event"] for event in events(folder, given)] == ["started", "refused"]
    last = events(folder, given)[-1]
    assert "A worker process could not start" in last["message"]
    assert "this node has no torch" in last["message"]


@pytest.mark.skipif(not hasattr(signal, "SIGUSR2"), reason="there is no such signal")
def test_a_signal_while_the_workers_end_is_waited_for_does_not_wait_for_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Slurm sends before the time is up, when the job has just ended: the wait it interrupts holds a lock."""
    silent = tmp_path / "python"
    silent.write_text("#!/bin/sh\nexec >&-\nsleep 1\n")
    silent.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(silent))
    host = Host(assignment(StudyFolder(tmp_path / "study"), 0.03))
    host.worker = WorkerProcess()
    took: list[float] = []

    def on_signal(*_: object) -> None:
        began = time.monotonic()
        host.pause("its time was up")
        took.append(time.monotonic() - began)

    before = signal.signal(signal.SIGUSR2, on_signal)
    threading.Timer(0.4, signal.pthread_kill, (threading.main_thread().ident, signal.SIGUSR2)).start()
    try:
        assert list(host.worker.messages()) == []
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert host.worker.process.returncode == 0
    assert took
    assert took[0] < 0.3
