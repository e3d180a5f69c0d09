"""What holds for every scheduler, in whole studies."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import selfsup
from selfsup import registry
from selfsup.errors import Interrupted
from selfsup.execution.estimate import plan_study
from selfsup.execution.executors.base import EpochDone, Event
from selfsup.execution.watchers import Watcher
from selfsup.record.results import MEASURED_COLUMNS

pytestmark = pytest.mark.usefixtures("without_pictures")

GRID = {
    "methods": "simclr,random",
    "lrs": "0.01,0.3",
    "augmentations": "weak,simclr",
    "per_class": "5",
    "backbone": "test_resnet",
    "image_size": 16,
    "batch_size": 32,
    "epochs": 5,
    "executor": "inline",
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
}
STOPPING = [name for name in registry.names(registry.SCHEDULER) if name != "none"]


def numbers(study: selfsup.Study) -> pd.DataFrame:
    """What must be equal, of the finished cells."""
    table = study.results.set_index("cell").drop(columns=list(MEASURED_COLUMNS))
    return table[table.status == "done"].drop(columns=["message", "rung_score"])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], selfsup.Study]:
    """The study under a scheduler, run once for all tests; they read it, or go on with a copy."""
    return cache(
        lambda name: selfsup.compare("digits", out=tmp_path_factory.mktemp(name) / "s", scheduler=name, **GRID)
    )


@pytest.fixture(params=STOPPING)
def stopped(request: pytest.FixtureRequest, run: Callable[[str], selfsup.Study]) -> selfsup.Study:
    return run(request.param)


def test_every_cell_is_recorded_and_some_are_stopped(stopped: selfsup.Study) -> None:
    counts = stopped.results.status.value_counts()
    assert counts.sum() == 5
    assert counts["done"] >= 2
    assert counts["pruned"] >= 1


def test_what_finishes_does_so_as_if_nobody_had_asked(
    stopped: selfsup.Study, run: Callable[[str], selfsup.Study]
) -> None:
    whole = numbers(run("none"))
    pd.testing.assert_frame_equal(numbers(stopped), whole.loc[numbers(stopped).index], check_exact=True)


def test_a_stopped_cell_has_a_score_and_no_accuracy(stopped: selfsup.Study) -> None:
    pruned = stopped.results[stopped.results.status == "pruned"]
    assert pruned.rung_score.between(0, 1).all()
    assert (pruned.epochs < 5).all()
    assert pruned[["val_accuracy", "test_accuracy", "knn_accuracy", "effective_rank"]].isna().all(axis=None)
    assert pruned.message.str.contains(f"stopped early by {stopped.config.scheduler} after").all()
    assert not any((stopped.path / "cells" / cell / "backbone.safetensors").exists() for cell in pruned.cell)


def test_the_report_counts_stopped_cells_as_not_finished(stopped: selfsup.Study) -> None:
    page = stopped.report().read_text(encoding="utf-8")
    pruned = int((stopped.results.status == "pruned").sum())
    assert f"{pruned} pruned" in page
    assert f"--scheduler {stopped.config.scheduler} stopped early" in page
    assert stopped.best().status == "done"


def test_nothing_of_a_stopped_training_is_left_and_a_second_run_has_nothing_to_do(stopped: selfsup.Study) -> None:
    assert not list((stopped.path / "running").glob("*/checkpoint*"))
    before = (stopped.path / "results.csv").read_bytes()
    selfsup.compare("digits", out=stopped.path, **GRID)  # the scheduler stays until another is named
    assert (stopped.path / "results.csv").read_bytes() == before


class InterruptedOften(Watcher):
    """Asks to stop after every few epochs."""

    def __init__(self) -> None:
        self.epochs = 0

    def on_event(self, event: Event) -> None:
        if isinstance(event, EpochDone):
            self.epochs += 1
            if self.epochs == 3:
                raise Interrupted


def test_interrupted_and_resumed_is_as_uninterrupted(tmp_path: Path, run: Callable[[str], selfsup.Study]) -> None:
    options: dict[str, Any] = {**GRID, "scheduler": "halving"}
    for _ in range(20):
        try:
            broken = selfsup.compare("digits", out=tmp_path / "broken", watcher=InterruptedOften(), **options)
            break
        except Interrupted:
            pass
    else:
        pytest.fail("it never ended")
    drop = list(MEASURED_COLUMNS)
    straight = run("halving").results.drop(columns=drop)
    pd.testing.assert_frame_equal(broken.results.drop(columns=drop), straight)


def test_none_finishes_what_was_stopped(tmp_path: Path, run: Callable[[str], selfsup.Study]) -> None:
    out = tmp_path / "study"
    shutil.copytree(run("halving").path, out)
    finished = selfsup.compare("digits", out=out, **GRID, scheduler="none")
    pd.testing.assert_frame_equal(numbers(finished), numbers(run("none")), check_exact=True)


def test_what_was_stopped_is_counted_apart_from_what_is_finished(run: Callable[[str], selfsup.Study]) -> None:
    """By a plan, and by a run that has nothing to do."""
    study = run("halving")
    statuses = study.results.set_index("cell").status
    stopped, done = ({*statuses.index[statuses == status]} for status in ("pruned", "done"))
    asked = {name: value for name, value in GRID.items() if name not in {"backbone", "executor"}}
    asked |= {"data": "digits", "backbones": "test_resnet"}
    plan = plan_study({**asked, "scheduler": "halving"}, out=study.path)
    assert (plan.stopped, plan.finished) == (stopped, done)
    assert stopped
    assert plan.seconds == 0
    none = plan_study({**asked, "scheduler": "none"}, out=study.path)
    assert (none.stopped, none.finished) == (set(), done)
    watcher = Said()
    selfsup.compare("digits", out=study.path, watcher=watcher, **GRID, scheduler="halving")
    assert any(
        line.startswith(f"Nothing to do: {len(done)} cells finished before and {len(stopped)} stopped early (pruned);")
        for line in watcher.lines
    )


class Said(Watcher):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)
