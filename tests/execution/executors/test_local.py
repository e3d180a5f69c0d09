"""Workers that die cost their own cell one retry, and nothing else."""

from __future__ import annotations

import os
import queue
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pandas as pd
import psutil
import pytest
from click.testing import CliRunner
from tests.undrawn import undrawn

import selfsup
from selfsup.cli.commands import main
from selfsup.config.validation import validate
from selfsup.errors import UserError
from selfsup.execution.executors import _worker
from selfsup.execution.executors._process import GRACE_SECONDS, WorkerProcess
from selfsup.execution.executors._stop import StopFlag
from selfsup.execution.executors.base import EpochDone, Event, JobRetried
from selfsup.execution.executors.local import _Pool
from selfsup.execution.watchers import Lines, Watcher
from selfsup.record.folder import StudyFolder
from selfsup.record.results import MEASURED_COLUMNS
from selfsup.testing.executors import check_executor

#: One worker, for each takes seconds to start, and small maps; `check_executor` has two workers.
GRID = {
    "backbone": "test_resnet",
    "image_size": 16,
    "batch_size": 64,
    "methods": "moco",
    "augmentations": "weak",
    "lrs": "0.03",
    "per_class": "5",
    "epochs": 6,
    "workers": 1,
    "threads": 1,
    "device": "cpu",
    "precision": "fp32",
    "checkpoint_seconds": 0.01,
    "map_points": 10,
}
TWO = {**GRID, "methods": "moco,supervised"}
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
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The numbers of both cells in this process, where nothing dies."""
    out = tmp_path_factory.mktemp("calm") / "study"
    with undrawn():
        return numbers(selfsup.compare("digits", out=out, executor="inline", **TWO))


@pytest.mark.usefixtures("without_pictures")
def test_it_keeps_what_every_executor_promises(tmp_path: Path) -> None:
    check_executor("local", tmp_path, workers=2)


@pytest.mark.usefixtures("without_pictures")
def test_a_worker_killed_once_costs_a_retry_and_no_digit(undisturbed: pd.DataFrame, tmp_path: Path) -> None:
    killer = Killer(times=1)
    study = selfsup.compare("digits", out=tmp_path / "study", watcher=killer, **GRID)
    assert killer.retries == [VICTIM]
    pd.testing.assert_frame_equal(numbers(study), undisturbed[undisturbed.cell == VICTIM], check_exact=True)


def test_a_worker_killed_twice_fails_its_cell_which_is_said_and_the_next_run_mends_it(
    undisturbed: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killer, shown = Killer(times=2), Lines.on_event
    monkeypatch.setattr(Lines, "on_event", lambda lines, event: (killer.on_event(event), shown(lines, event)))
    out = tmp_path / "study"
    options = [f"--{name.replace('_', '-')}={value}" for name, value in {**TWO, "out": out}.items()]
    result = CliRunner().invoke(main, ["run", "digits", *options])
    assert len(killer.killed) == 2
    assert result.exit_code == 1
    assert "1 cell failed" in result.stderr
    assert "Traceback" not in result.output
    study = selfsup.load_study(out)
    statuses = study.results.set_index("cell").status
    assert statuses[VICTIM] == "failed"
    assert set(statuses.drop(VICTIM)) == {"done"}
    assert "SIGKILL" in study.result(VICTIM).message
    assert (study.path / "cells" / VICTIM / "log.txt").exists()
    assert study.folder.checkpoint(VICTIM).exists(), "what it had trained is not lost"
    assert "failed" in (study.path / "report.html").read_text()
    again = selfsup.compare("digits", out=study.path, executor="inline", **TWO)
    pd.testing.assert_frame_equal(numbers(again), undisturbed, check_exact=True)


@pytest.mark.slow
@pytest.mark.usefixtures("without_pictures")
def test_two_workers_give_the_numbers_of_one_process(undisturbed: pd.DataFrame, tmp_path: Path) -> None:
    two = selfsup.compare("digits", out=tmp_path / "study", **{**TWO, "workers": 2})
    pd.testing.assert_frame_equal(numbers(two), undisturbed, check_exact=True)


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


@pytest.mark.usefixtures("without_pictures")
def test_a_worker_is_started_while_the_study_is_prepared_and_kept_for_every_round(tmp_path: Path) -> None:
    counting = Counting()
    options = {**GRID, "lrs": "0.01,0.03,0.1"}
    selfsup.compare("digits", out=tmp_path / "s", watcher=counting, scheduler="halving", **options)
    assert len(counting.before) == 1
    assert len(counting.rounds) > 1
    assert all(seen == counting.before for seen in counting.rounds)
    assert not workers()


def test_a_worker_whose_study_cannot_be_prepared_goes(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        selfsup.compare(tmp_path / "there-is-none", out=tmp_path / "s", **GRID)
    assert not workers()


@pytest.mark.slow
@pytest.mark.usefixtures("without_pictures")
def test_an_idle_worker_that_dies_is_replaced_in_the_next_round(tmp_path: Path) -> None:
    class Assassin(Counting):
        def end(self) -> None:
            for pid in workers():
                psutil.Process(pid).kill()

    watcher = Assassin()
    options = {**GRID, "lrs": "0.01,0.03,0.1"}
    study = selfsup.compare("digits", out=tmp_path / "s", watcher=watcher, scheduler="halving", **options)
    assert set(study.results.status) == {"done", "pruned"}
    first, *others = watcher.rounds
    assert others
    assert not any(first & later for later in others)


@pytest.mark.parametrize("deaths", [1, 2])
@pytest.mark.usefixtures("without_pictures")
def test_a_worker_that_is_killed_as_it_starts_is_started_once_more(
    deaths: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$(cat "{tmp_path}/deaths")" = {"x" * deaths} ] && exec "{sys.executable}" "$@"\n'
        f'printf x >> "{tmp_path}/deaths"\nkill -9 $$\n'
    )
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    (tmp_path / "deaths").touch()
    out = tmp_path / "s"
    if deaths == 1:
        assert set(selfsup.compare("digits", out=out, **{**GRID, "epochs": 1}).results.status) == {"done"}
    else:
        with pytest.raises(UserError, match=r"A worker process could not start \(its process was killed \(SIGKILL\)"):
            selfsup.compare("digits", out=out, **GRID)
    assert (tmp_path / "deaths").read_text() == "x" * deaths


@pytest.mark.usefixtures("without_pictures")
def test_what_jobs_could_not_do_is_said_once(tmp_path: Path) -> None:
    class Said(Watcher):
        lines: ClassVar[list[str]] = []

        def say(self, line: str) -> None:
            self.lines.append(line)

    plugin = tmp_path / "alone.py"
    plugin.write_text(
        "from selfsup.config.grid import Tags\n"
        "from selfsup.methods.simclr import SimCLR\n\n\n"
        "class Alone(SimCLR):\n    tags = Tags(can_fuse=False)\n"
    )
    fused = {**GRID, "methods": "alone", "lrs": "0.01,0.03", "fuse": 2, "per_class": "2,5", "epochs": 1}
    selfsup.compare("digits", out=tmp_path / "s", watcher=Said(), plugin=str(plugin), **fused)
    (line,) = (line for line in Said.lines if "fuse" in line)
    assert line.startswith("alone of test_resnet cannot be fused (by its tag can_fuse)")


def test_a_second_interrupt_does_not_wait_for_a_worker_that_saves() -> None:
    """A worker that has not gone when it is killed, which only happens after the grace, or at once."""
    signals, began = [signal.SIGINT], time.monotonic()

    def poll() -> None:
        for number in signals:
            signal.raise_signal(number)
        signals.clear()

    killed = []
    process = SimpleNamespace(stop=lambda: None, kill=lambda: killed.append(True), process=SimpleNamespace(poll=poll))
    pool = object.__new__(_Pool)
    pool.inbox, pool.workers = queue.Queue(), {0: SimpleNamespace(job="at work", process=process)}
    with StopFlag() as stop:
        signal.raise_signal(signal.SIGINT)
        pool._stop_jobs(stop)
    assert killed
    assert time.monotonic() - began < GRACE_SECONDS / 2


def test_what_a_sites_python_prints_is_no_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os; os.write(1, b'hello\\n[1]\\nno newline')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    folder = StudyFolder(tmp_path / "study")
    folder.create()
    folder.write_config(validate({}))
    worker = WorkerProcess()
    worker.open_study(folder, "cpu", "fp32", 1)
    assert worker.wait_until_ready()
    worker.kill()


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
