"""Workers that are forked compute what workers that are started do, and survive the loss of what forked them."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pandas as pd
import psutil
import pytest

import selfsup
from selfsup.execution.executors import _forkserver
from selfsup.execution.executors._forkserver import ForkServer
from selfsup.execution.executors._process import WorkerProcess
from selfsup.execution.executors.base import EpochDone, Event
from selfsup.execution.watchers import Silent
from selfsup.record.folder import StudyFolder
from selfsup.record.results import MEASURED_COLUMNS

pytestmark = pytest.mark.skipif(not ForkServer.fits(), reason="workers are not forked here")

GRID = {
    "backbone": "test_resnet",
    "image_size": 16,
    "batch_size": 64,
    "methods": "moco,supervised",
    "augmentations": "weak",
    "lrs": "0.03",
    "per_class": "5",
    "epochs": 3,
}


def numbers(study: selfsup.Study) -> pd.DataFrame:
    return study.results.drop(columns=list(MEASURED_COLUMNS))


def servers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if _forkserver.__name__ in child.cmdline()]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> selfsup.Study:
    """A study whose workers were not forked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ForkServer, "fits", staticmethod(lambda: False))
        return selfsup.compare("digits", out=tmp_path_factory.mktemp("started") / "s", workers=1, threads=2, **GRID)


class Onlooker(Silent):
    """At the first epoch, notes the processes at work, and does something."""

    def __init__(self, kill: bool = False) -> None:
        self.kill = kill
        self.parents: set[int] = set()

    def on_event(self, event: Event) -> None:
        if isinstance(event, EpochDone) and not self.parents:
            (server,) = servers()
            self.parents = {worker.ppid() for worker in server.children()}
            assert self.parents == {server.pid}
            if self.kill:
                server.kill()


def test_forked_workers_give_the_same_numbers_and_leave_nobody(started: selfsup.Study, tmp_path: Path) -> None:
    onlooker = Onlooker()
    study = selfsup.compare("digits", out=tmp_path / "s", workers=1, threads=2, watcher=onlooker, **GRID)
    assert onlooker.parents
    assert not servers()
    pd.testing.assert_frame_equal(numbers(study), numbers(started), check_exact=True)


def test_workers_go_on_when_their_server_dies(started: selfsup.Study, tmp_path: Path) -> None:
    onlooker = Onlooker(kill=True)
    study = selfsup.compare("digits", out=tmp_path / "s", workers=1, threads=2, watcher=onlooker, **GRID)
    assert onlooker.parents
    pd.testing.assert_frame_equal(numbers(study), numbers(started), check_exact=True)


def test_workers_are_started_where_the_server_cannot_be(
    started: selfsup.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_forkserver, "__name__", "selfsup.there_is_no_such_module")
    study = selfsup.compare("digits", out=tmp_path / "s", workers=1, threads=2, **GRID)
    pd.testing.assert_frame_equal(numbers(study), numbers(started), check_exact=True)


def test_how_a_forked_worker_ended_is_known(started: selfsup.Study) -> None:
    folder = StudyFolder(started.path)
    with ForkServer() as server:
        leaving, killed, signalled = (WorkerProcess(folder, "cpu", "fp32", 1, fork_server=server) for _ in range(3))
        for worker in (leaving, killed, signalled):
            assert worker.wait_until_ready()
        leaving.stop()
        assert leaving.process.wait(30) == 0
        killed.kill()
        assert killed.process.poll() == -signal.SIGKILL
        assert "SIGKILL" in killed.why_it_died()
        pid = signalled.process._pid
        assert pid is not None
        os.kill(pid, signal.SIGSEGV)
        assert signalled.process.wait(30) == -signal.SIGSEGV
        assert not psutil.Process(server._process.pid).children()


def test_a_worker_that_outlives_its_server_can_be_ended(started: selfsup.Study) -> None:
    with ForkServer() as server:
        worker = WorkerProcess(StudyFolder(started.path), "cpu", "fp32", 1, fork_server=server)
        assert worker.wait_until_ready()
        server._process.kill()
        server._process.wait()
        with pytest.raises(subprocess.TimeoutExpired):
            worker.process.wait(0.5)
        worker.kill()
        assert worker.process.returncode is None
        assert "ended" in worker.why_it_died()
        another = WorkerProcess(StudyFolder(started.path), "cpu", "fp32", 1, fork_server=server)
        assert isinstance(another.process, subprocess.Popen)
        another.kill()


def test_workers_see_the_end_of_a_parent(started: selfsup.Study) -> None:
    with ForkServer() as server:
        worker = WorkerProcess(StudyFolder(started.path), "cpu", "fp32", 1, fork_server=server)
        assert worker.wait_until_ready()
        worker.process.stdin.close()
        assert worker.process.wait(30) == 1
