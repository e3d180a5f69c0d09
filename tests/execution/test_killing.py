"""A study that is killed, at any moment and however often, ends with the same numbers."""

from __future__ import annotations

import os
import random
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
from selfsup.record.results import MEASURED_COLUMNS

#: The methods with the most to lose: a queue, momentum encoders, a momentum schedule.
GRID: dict[str, Any] = {
    "methods": "moco,byol", "augmentations": "weak", "lrs": "0.03", "per_class": "5,60", "epochs": 8,
    "image_size": 16, "backbone": "test_resnet", "checkpoint_seconds": 0.3, "map_points": 10,
    "device": "cpu", "precision": "fp32", "threads": 1,
}  # fmt: skip


def command(out: Path, workers: int = 1) -> list[str]:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in {**GRID, "workers": workers}.items()]
    return [sys.executable, "-m", "selfsup", "run", "digits", "--preset=quick", *options, "--out", str(out)]


def run(out: Path) -> None:
    """To the end, in this process, which needs no worker."""
    with undrawn():
        selfsup.compare("digits", out=out, preset="quick", executor="inline", **GRID)


def results(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "results.csv").drop(columns=list(MEASURED_COLUMNS))


def start_and_stop(out: Path, number: int, after: float) -> int | None:
    """Start the study and send it a signal; its exit code, None if it had finished before."""
    process = subprocess.Popen(command(out, workers=2), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
        process.wait(timeout=90)
        return None if number == signal.SIGKILL else process.returncode


def checkpoints(out: Path) -> list[Path]:
    return list(out.glob("running/*/checkpoint.pt"))


def finished(out: Path) -> dict[str, int]:
    """Cells that are recorded, and when that was."""
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("cells/*/metrics.json")}


def wait_for(what: Callable[[], Any], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not what() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "study"
    run(out)
    return out


def test_a_study_killed_and_then_terminated_goes_on_inside_its_cells_and_ends_with_the_same_numbers(
    uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    process = subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: checkpoints(out), process)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, left = psutil.wait_procs(workers, timeout=60)  # they see that their parent is gone
    assert not left
    assert checkpoints(out), "the study was killed inside a cell"

    before = finished(out).keys()  # a first cell may be too short for a checkpoint
    process = subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: finished(out).keys() - before, process)
    process.terminate()
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 143
    assert "the same command goes on from here" in errors
    assert "Traceback" not in errors
    assert (out / "results.csv").exists()

    before = finished(out)
    run(out)
    assert before.items() <= finished(out).items(), "a cell that was finished was run again"
    pd.testing.assert_frame_equal(results(out), results(uninterrupted), check_exact=True)
    assert not checkpoints(out)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_kills_at_random_moments_change_nothing(uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    rng = random.Random(int(os.environ.get("SELFSUP_KILL_SEED", "0")))
    kills = 0
    for attempt in range(200):
        number = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        code = start_and_stop(out, number, after=rng.uniform(0.5, 14.0))
        if code == 0:  # it finished before its kill: begin again, in a new folder
            pd.testing.assert_frame_equal(results(out), results(uninterrupted), check_exact=True)
            out = tmp_path / f"study-{attempt}"
        else:
            kills += 1
        if kills >= 20:
            break
    assert kills >= 20
    run(out)
    pd.testing.assert_frame_equal(results(out), results(uninterrupted), check_exact=True)
