"""ASHA by Optuna: decisions at a rung, kept in the study's folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from selfsup.config.grid import Cell, Job
from selfsup.config.validation import validate
from selfsup.errors import UserError
from selfsup.execution.schedulers import load_scheduler
from selfsup.execution.schedulers.base import Scheduler, read_records
from selfsup.record.folder import StudyFolder
from selfsup.record.results import CellResult

CONFIG = validate({"scheduler": "asha", "epochs": 9, "augmentations": "weak", "lrs": "0.01,0.03,0.1,0.3"})


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    made = StudyFolder(tmp_path / "study")
    made.create()
    return made


def job(lr: float, seed: int = 0, method: str = "simclr") -> Job:
    return Job((Cell(method, "resnet18", "weak", lr, 5, seed),))


def asha(folder: StudyFolder) -> Scheduler:
    """As another process would have it."""
    return load_scheduler(CONFIG, folder)


def test_it_compares_at_rungs_alone(folder: StudyFolder) -> None:
    assert [epoch for epoch in range(10) if asha(folder).compares_at(job(0.01), epoch)] == [1, 3]


def test_a_worse_score_than_those_before_stops(folder: StudyFolder) -> None:
    assert asha(folder).goes_on(job(0.01), 1, 0.8)
    assert not asha(folder).goes_on(job(0.03), 1, 0.5)
    assert asha(folder).goes_on(job(0.1), 1, 0.9)
    assert asha(folder).goes_on(job(0.1), 3, 0.9)


def test_a_decision_stays_when_it_is_asked_for_again(folder: StudyFolder) -> None:
    asha(folder).goes_on(job(0.01), 1, 0.8)
    assert not asha(folder).goes_on(job(0.03), 1, 0.5)
    assert not asha(folder).goes_on(job(0.03), 1, 0.5)  # it was killed before that was recorded
    assert asha(folder).goes_on(job(0.01), 1, 0.8)


def test_groups_do_not_compete(folder: StudyFolder) -> None:
    asha(folder).goes_on(job(0.01), 1, 0.8)
    assert asha(folder).goes_on(job(0.01, method="moco"), 1, 0.1)


def test_further_seeds_stop_where_the_first_did(folder: StudyFolder) -> None:
    folder.write_cell(CellResult.of(job(0.03).cells[0], "pruned", epochs=1), {})
    assert not asha(folder).goes_on(job(0.03, seed=1), 1, 0.99)
    assert asha(folder).goes_on(job(0.01, seed=1), 1, 0.0)


def test_what_was_stopped_is_not_begun_again(folder: StudyFolder) -> None:
    folder.write_cell(CellResult.of(job(0.03).cells[0], "pruned", epochs=1), {})
    jobs = [job(0.01), job(0.03)]
    assert asha(folder).next_round(jobs, read_records(folder)) == [job(0.01)]


def test_without_optuna_it_is_refused(folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'selfsup\[tune\]'"):
        asha(folder)
