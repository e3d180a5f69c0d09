"""A real Slurm of one node: preemption, the time limit's signal, and a run that is closed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from slurm_node import slurm, slurm_on_this_machine, why_not

import selfsup
from selfsup.execution.executors.base import EpochDone, Event, JobRetried
from selfsup.execution.status import study_status
from selfsup.execution.watchers import Watcher
from selfsup.record.results import MEASURED_COLUMNS
from selfsup.testing.executors import TINY_STUDY

pytest.importorskip("submitit", reason="submitit is not installed: pip install 'selfsup[slurm]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

GRID: dict[str, Any] = {**TINY_STUDY, "epochs": 60, "checkpoint_seconds": 0.05}
VICTIM = "moco-test_resnet-weak-lr0.03-n5-s0"


@pytest.fixture(scope="module", autouse=True)
def _slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with slurm_on_this_machine(tmp_path_factory.mktemp("slurm")):
        yield


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """What the inline executor finds."""
    return numbers(selfsup.compare("digits", out=tmp_path_factory.mktemp("inline") / "s", executor="inline", **GRID))


def numbers(study: selfsup.Study) -> pd.DataFrame:
    return study.results.drop(columns=list(MEASURED_COLUMNS))


def in_queue(*options: str) -> list[str]:
    return slurm("squeue", "--noheader", "--array", "--format=%i", *options).split()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


class Disturbing(Watcher):
    """Disturbs one cell once it trains, and spares the test the two minutes for which Slurm holds a requeued job."""

    def __init__(self, disturb: Callable[[str], object]) -> None:
        self.disturb = disturb
        self.disturbed: str | None = None
        self.retried: list[str] = []
        self.epochs: list[int] = []

    def on_event(self, event: Event) -> None:
        if event.job.id != VICTIM:
            return
        if isinstance(event, EpochDone):
            self.epochs.append(event.epoch)
            if self.disturbed is None:
                (self.disturbed,) = in_queue("--state=RUNNING")
                self.disturb(self.disturbed)
                self._hurry()
        if isinstance(event, JobRetried):
            self.retried.append(event.reason)

    def _hurry(self) -> None:
        assert self.disturbed is not None
        wait_until(lambda: self.disturbed in in_queue("--state=PENDING"))
        slurm("scontrol", "update", f"JobId={self.disturbed}", "StartTime=now")


def check_undisturbed(watcher: Disturbing, tmp_path: Path, inline: pd.DataFrame) -> None:
    study = selfsup.compare("digits", out=tmp_path / "study", executor="slurm", time="10", watcher=watcher, **GRID)
    pd.testing.assert_frame_equal(numbers(study), inline, check_exact=True)
    assert watcher.epochs[-1] == GRID["epochs"]
    assert watcher.epochs.count(1) == 1, "it went on from its checkpoint"
    assert in_queue() == []


def test_a_job_that_reaches_its_time_limit_goes_on_in_a_new_one(tmp_path: Path, inline: pd.DataFrame) -> None:
    # What Slurm sends shortly before the limit.
    watcher = Disturbing(lambda job: slurm("scancel", "--signal=USR2", job))
    check_undisturbed(watcher, tmp_path, inline)
    assert watcher.retried == ["its time was up, or its node was wanted for another job"]


def test_a_job_that_a_more_urgent_one_preempts_goes_on_afterwards(tmp_path: Path, inline: pd.DataFrame) -> None:
    urgent = ["sbatch", "--partition=urgent", "--wrap=sleep 2", "--output=/dev/null"]
    watcher = Disturbing(lambda job: slurm(*urgent))
    check_undisturbed(watcher, tmp_path, inline)
    assert watcher.retried in ([], ["it was told to stop on its node"]), "it was not submitted again"


def test_a_run_may_be_closed_and_the_same_command_follows_its_jobs_again(tmp_path: Path, inline: pd.DataFrame) -> None:
    out = tmp_path / "study"
    process = _run(out)
    process.send_signal(signal.SIGHUP)  # what a terminal that is closed sends
    process.wait()
    submitted = study_status(selfsup.load_study(out).folder).submitted
    assert {job.handle.removeprefix("slurm:") for job in submitted} >= set(in_queue())
    assert in_queue(), "Slurm still has the jobs"
    told = subprocess.run(
        [sys.executable, "-m", "selfsup", "status", str(out)], capture_output=True, text=True, check=True
    ).stdout
    assert "the same command as before follows the jobs again" in told
    study = selfsup.compare("digits", out=out, executor="slurm", **GRID)
    pd.testing.assert_frame_equal(numbers(study), inline, check_exact=True)


def test_ctrl_c_saves_the_running_cell_and_empties_the_queue(tmp_path: Path, inline: pd.DataFrame) -> None:
    out = tmp_path / "study"
    process = _run(out)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert in_queue() == []
    assert (out / "running" / VICTIM / "checkpoint.pt").exists()
    study = selfsup.compare("digits", out=out, executor="inline", **GRID)
    pd.testing.assert_frame_equal(numbers(study), inline, check_exact=True)


def test_what_slurm_refuses_is_said(tmp_path: Path) -> None:
    with pytest.raises(selfsup.UserError, match=r"Slurm refused the jobs: .*Invalid partition"):
        selfsup.compare("digits", out=tmp_path / "study", executor="slurm", partition="nowhere", **GRID)


def _run(out: Path) -> subprocess.Popen[str]:
    """A run in another process, whose first cell has begun to train."""
    options = {**GRID, "executor": "slurm", "out": out}
    given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "selfsup", "run", "digits", *given]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = out / "running" / "submitted" / f"{VICTIM}.jsonl"
    wait_until(lambda: journal.exists() and '"epoch"' in journal.read_text())
    return process
