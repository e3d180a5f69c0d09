"""Workers that die cost their own cell one retry, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

import selfsup
from selfsup.execution.executors.base import EpochDone, Event, JobRetried
from selfsup.execution.watchers import Silent
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
VICTIM = "moco-weak-lr0.03-n5-s0"


class Killer(Silent):
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


def _writes_to(process: psutil.Process, path: Path) -> bool:
    try:
        return any(file.path.endswith(str(path)) for file in process.open_files())
    except psutil.Error:
        return False
