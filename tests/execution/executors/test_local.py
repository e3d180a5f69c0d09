"""Workers that die cost their own cell one retry, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

import selfsup
from selfsup.errors import UserError
from selfsup.execution.executors import _worker
from selfsup.execution.executors._process import WorkerProcess
from selfsup.execution.executors.base import EpochDone, Event, JobRetried
from selfsup.execution.watchers import Watcher
from selfsup.record.results import MEASURED_COLUMNS
from selfsup.testing.executors import check_executor

GRID = {
    "backbone": "test_resnet",
    "image_size": 16,
    "batch_size": 64,
    "methods": "moco,supervised",
    "augmentations": "weak",
    "lrs": "0.03",
    "per_class": "5",
    "epochs": 6,
    "workers": 2,
    "checkpoint_seconds": 0.01,
}
VICTIM = "moco-test_resnet-weak-lr0.03-n5-s0"


class Killer(Watcher):
    """Kills the worker of one cell after its first epoch, a number of times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.killed: set[int] = set()
        self.retries: list[str] = []

    def on_event(self, event: Event) -> None:
        if isinstance(event, JobRetried):
            self.retries.append(event.job.id)
        if isinstance(event, EpochDone) and event.job.id == VICTIM and len(self.killed) < self.times:
            log = Path("running") / VICTIM / "log.txt"
            for child in psutil.Process().children(recursive=True):
                # The victim is the worker whose output goes to the cell's log.
                if child.pid not in self.killed and _writes_to(child, log):
                    child.kill()
                    self.killed.add(child.pid)


def numbers(study: selfsup.Study) -> pd.DataFrame:
    return study.results.drop(columns=list(MEASURED_COLUMNS))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> selfsup.Study:
    return selfsup.compare("digits", out=tmp_path_factory.mktemp("calm") / "study", **GRID)


def test_it_keeps_what_every_executor_promises(tmp_path: Path) -> None:
    check_executor("local", tmp_path, workers=2)


def test_a_worker_killed_once_costs_a_retry_and_no_digit(undisturbed: selfsup.Study, tmp_path: Path) -> None:
    killer = Killer(times=1)
    study = selfsup.compare("digits", out=tmp_path / "study", watcher=killer, **GRID)
    assert killer.retries == [VICTIM]
    pd.testing.assert_frame_equal(numbers(study), numbers(undisturbed), check_exact=True)


def test_a_worker_killed_twice_fails_its_cell_and_the_next_run_mends_it(
    undisturbed: selfsup.Study, tmp_path: Path
) -> None:
    study = selfsup.compare("digits", out=tmp_path / "study", watcher=Killer(times=2), **GRID)
    statuses = study.results.set_index("cell").status
    assert statuses[VICTIM] == "failed"
    assert set(statuses.drop(VICTIM)) == {"done"}
    assert "SIGKILL" in study.result(VICTIM).message
    assert (study.path / "cells" / VICTIM / "log.txt").exists()
    assert "failed" in (study.path / "report.html").read_text()
    again = selfsup.compare("digits", out=study.path, **GRID)
    pd.testing.assert_frame_equal(numbers(again), numbers(undisturbed), check_exact=True)


def test_one_worker_and_two_give_the_same_numbers(undisturbed: selfsup.Study, tmp_path: Path) -> None:
    threads = undisturbed.config.threads
    alone = selfsup.compare("digits", out=tmp_path / "study", **{**GRID, "workers": 1, "threads": threads})
    pd.testing.assert_frame_equal(numbers(alone), numbers(undisturbed), check_exact=True)


def test_the_command_says_that_a_cell_failed_and_exits_with_1(tmp_path: Path) -> None:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in {**GRID, "workers": 1, "epochs": 400}.items()]
    command = [sys.executable, "-m", "selfsup", "run", "digits", *options, "--methods=moco", f"--out={tmp_path / 's'}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "s" / "running" / VICTIM / "log.txt"
    killed: set[int] = set()
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        for child in psutil.Process(process.pid).children(recursive=True):
            if child.pid not in killed and log.exists() and _writes_to(child, log):
                child.kill()
                killed.add(child.pid)
        time.sleep(0.02)
    _, errors = process.communicate(timeout=60)
    assert len(killed) == 2
    assert process.returncode == 1
    assert "1 cell failed" in errors
    assert "Traceback" not in errors


def workers() -> set[int]:
    return {child.pid for child in psutil.Process().children() if _worker.__name__ in child.cmdline()}


class Counting(Watcher):
    """Notes which workers there are when something is said, and at every epoch."""

    def __init__(self) -> None:
        self.before: set[int] = set()
        self.rounds: list[set[int]] = []

    def say(self, line: str) -> None:
        if not self.rounds:
            self.before |= workers()

    def begin(self, path: Path, tally: Any) -> None:
        self.rounds.append(set())

    def on_event(self, event: Event) -> None:
        if isinstance(event, EpochDone):
            self.rounds[-1] |= workers()


def test_a_worker_is_started_while_the_study_is_prepared_and_kept_for_every_round(tmp_path: Path) -> None:
    counting = Counting()
    options = {**GRID, "methods": "moco", "lrs": "0.01,0.03,0.1", "workers": 1}
    selfsup.compare("digits", out=tmp_path / "s", watcher=counting, scheduler="halving", **options)
    assert len(counting.before) == 1
    assert len(counting.rounds) > 1
    assert all(seen == counting.before for seen in counting.rounds)
    assert not workers()


def test_a_worker_whose_study_cannot_be_prepared_goes(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        selfsup.compare(tmp_path / "there-is-none", out=tmp_path / "s", **GRID)
    assert not workers()


def test_an_idle_worker_that_dies_is_replaced_in_the_next_round(tmp_path: Path) -> None:
    class Assassin(Counting):
        def end(self) -> None:
            for pid in workers():
                psutil.Process(pid).kill()

    watcher = Assassin()
    options = {**GRID, "methods": "moco", "lrs": "0.01,0.03,0.1", "workers": 1}
    study = selfsup.compare("digits", out=tmp_path / "s", watcher=watcher, scheduler="halving", **options)
    assert set(study.results.status) == {"done", "pruned"}
    first, *others = watcher.rounds
    assert others
    assert not any(first & later for later in others)


def test_a_worker_of_no_study_yet_goes_with_its_parent() -> None:
    worker = WorkerProcess()
    assert worker.process.stdin is not None
    worker.process.stdin.close()
    assert worker.process.wait(60) == 1


def _writes_to(process: psutil.Process, path: Path) -> bool:
    try:
        return any(file.path.endswith(str(path)) for file in process.open_files())
    except psutil.Error:
        return False
