"""Slurm through submitit, with submitit's stand-in for a cluster: processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from tests.undrawn import undrawn

import selfsup
from selfsup.config.schema import StudyConfig
from selfsup.errors import UserError
from selfsup.execution.executors import load_executor
from selfsup.execution.executors.base import EpochDone, Event, JobRetried, JobStarted
from selfsup.execution.executors.slurm import minutes_of
from selfsup.execution.resources import resolve_resources
from selfsup.execution.status import study_status
from selfsup.execution.watchers import Watcher
from selfsup.record.results import MEASURED_COLUMNS
from selfsup.testing.executors import TINY_STUDY, check_executor

pytest.importorskip("submitit", reason="submitit is not installed: pip install 'selfsup[slurm]'")

pytestmark = pytest.mark.usefixtures("without_pictures")

GRID: dict[str, Any] = {**TINY_STUDY, "epochs": 300, "checkpoint_seconds": 1000}
ON_THIS_MACHINE = {"executor": "slurm", "slurm_cluster": "local"}
VICTIM = "moco-test_resnet-weak-lr0.03-n5-s0"


def numbers(study: selfsup.Study) -> pd.DataFrame:
    return study.results.drop(columns=list(MEASURED_COLUMNS))


def command(out: Path) -> list[str]:
    options = {**GRID, **ON_THIS_MACHINE, "out": out}
    given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "selfsup", "run", "digits", *given]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def in_epoch(out: Path) -> Callable[[], bool]:
    """Whether the victim has trained for an epoch."""
    journal = out / "running" / "submitted" / f"{VICTIM}.jsonl"
    return lambda: journal.exists() and '"epoch"' in journal.read_text()


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """What the inline executor finds."""
    with undrawn():
        return numbers(selfsup.compare("digits", out=tmp_path_factory.mktemp("s") / "s", executor="inline", **GRID))


def test_it_keeps_what_every_executor_promises(tmp_path: Path) -> None:
    check_executor("slurm", tmp_path, slurm_cluster="local")


class Preempting(Watcher):
    """Sends one cell's job the signal that Slurm sends before it takes a node away."""

    def __init__(self) -> None:
        self.heard: list[Event] = []

    def on_event(self, event: Event) -> None:
        if event.job.id != VICTIM:
            return
        if isinstance(event, EpochDone) and not any(isinstance(e, EpochDone) for e in self.heard):
            for process in psutil.Process().children(recursive=True):
                if "submitit.core._submit" in process.cmdline() and process.children():
                    process.send_signal(signal.SIGUSR2)
        self.heard.append(event)


def test_a_preempted_job_saves_its_checkpoint_and_goes_on_with_the_same_numbers(
    inline: pd.DataFrame, tmp_path: Path
) -> None:
    watcher = Preempting()
    study = selfsup.compare("digits", out=tmp_path / "study", watcher=watcher, **ON_THIS_MACHINE, **GRID)
    pd.testing.assert_frame_equal(numbers(study), inline, check_exact=True)
    retried = [event.reason for event in watcher.heard if isinstance(event, JobRetried)]
    assert retried == ["its time was up, or its node was wanted for another job"]
    assert sum(isinstance(event, JobStarted) for event in watcher.heard) == 2
    epochs = [event.epoch for event in watcher.heard if isinstance(event, EpochDone)]
    assert epochs == sorted(set(epochs)), "no epoch was trained twice"
    assert epochs[-1] == GRID["epochs"]
    assert list(study.folder.submitted.iterdir()) == []


def test_jobs_outlive_the_run_and_the_same_command_follows_them_again(inline: pd.DataFrame, tmp_path: Path) -> None:
    out = tmp_path / "study"
    process = subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(in_epoch(out))
    process.kill()
    process.wait()
    status = study_status(selfsup.load_study(out).folder)
    assert not status.watched
    assert "follows the jobs again" in list(status.lines())[-1]
    jobs = {job.job: job.handle for job in status.submitted}
    assert VICTIM in jobs
    with pytest.raises(UserError, match="at work under --executor slurm"):
        selfsup.compare("digits", out=out, **GRID)

    handles = set()

    class Follow(Watcher):
        def on_event(self, event: Event) -> None:
            handles.update(job.handle for job in study_status(selfsup.load_study(out).folder).submitted)

    study = selfsup.compare("digits", out=out, watcher=Follow(), **ON_THIS_MACHINE, **GRID)
    assert handles
    assert handles <= set(jobs.values()), "nothing was submitted anew"
    pd.testing.assert_frame_equal(numbers(study), inline, check_exact=True)


@pytest.mark.slow
def test_ctrl_c_saves_the_running_cell_and_another_executor_goes_on(inline: pd.DataFrame, tmp_path: Path) -> None:
    out = tmp_path / "study"
    process = subprocess.Popen(command(out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(in_epoch(out))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert (out / "running" / VICTIM / "checkpoint.pt").exists()
    study = selfsup.compare("digits", out=out, executor="inline", **GRID)
    pd.testing.assert_frame_equal(numbers(study), inline, check_exact=True)


@pytest.mark.slow
def test_a_job_that_vanishes_twice_fails_its_cell_alone(tmp_path: Path) -> None:
    class Vanish(Watcher):
        def on_event(self, event: Event) -> None:
            if isinstance(event, EpochDone) and event.job.id == VICTIM:
                _kill_jobs_with(VICTIM)

    study = selfsup.compare("digits", out=tmp_path / "study", watcher=Vanish(), **ON_THIS_MACHINE, **GRID)
    statuses = study.results.set_index("method").status
    assert dict(statuses) == {"moco": "failed", "random": "done"}
    assert "left the queue" in study.result(VICTIM).message


def _kill_jobs_with(job: str) -> None:
    """Kill controller, task and worker of a job, as a node does that loses power."""
    log = os.path.join("running", job, "log.txt")
    for controller in psutil.Process().children():
        below = controller.children(recursive=True)
        if any(file.path.endswith(log) for process in below for file in process.open_files()):
            for process in (controller, *below):
                process.kill()


@pytest.mark.parametrize(
    ("time", "minutes"),
    [("90", 90), ("1:30", 2), ("4:00:00", 240), ("2-0", 2880), ("1-12:30", 2190), ("0-0:0:1", 1)],
)
def test_time_limits_are_read_as_slurm_reads_them(time: str, minutes: int) -> None:
    assert minutes_of(time) == minutes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"time": "soon"}, "--time = 'soon' does not fit: must be minutes, H:MM:SS or D-HH:MM:SS"),
        ({"time": "0"}, "at least a minute"),
        ({"gpus": "0.5"}, "--gpus = '0.5' does not fit"),
        ({"sbatch": "nice"}, "--sbatch = 'nice' does not fit: must be NAME=VALUE"),
    ],
)
def test_options_that_do_not_fit_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        load_executor("slurm", **options)
    assert words in str(caught.value)


def test_the_precision_of_gpus_that_nobody_has_seen_is_asked_for() -> None:
    with pytest.raises(UserError, match="--precision bf16"):
        load_executor("slurm", gpus=1).resources(StudyConfig(), 1, resolve_resources)
    resources = load_executor("slurm", gpus=1, cpus=4).resources(StudyConfig(precision="bf16"), 3, resolve_resources)
    assert (resources.hardware.device, resources.threads, resources.workers) == ("cuda", 4, 3)


def test_the_devices_of_a_cell_share_its_cpus_and_are_its_gpus() -> None:
    slurm = load_executor("slurm", cpus=8)
    config = StudyConfig(device="cuda", precision="bf16", devices=2)
    assert slurm.resources(config, 1, resolve_resources).threads == 4
    assert slurm._gpus(config) == 2
