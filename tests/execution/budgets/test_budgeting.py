"""What a budget makes of a study is said before it starts, and kept for its report."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import selfsup
from selfsup.config.grid import Job
from selfsup.config.schema import StudyConfig
from selfsup.config.validation import validate
from selfsup.data.items import Item, ItemTable
from selfsup.errors import UserError
from selfsup.execution.budgets.budgeted_scheduler import Budget
from selfsup.execution.budgets.budgeting import FittedStudy, fit_into_budget, with_halving
from selfsup.execution.budgets.job_costs import JobCosts
from selfsup.execution.configuration import resolve_configuration
from selfsup.execution.executors import _stop
from selfsup.execution.executors.base import EpochDone, Event
from selfsup.execution.study_grid import lay_out
from selfsup.execution.watchers import Watcher
from selfsup.record.folder import StudyFolder

CONFIG = validate(
    {
        "methods": "simclr,byol,random", "references": "none", "backbones": "test_resnet@none", "image_size": 32,
        "augmentations": "simclr,weak", "per_class": "5,20", "epochs": 50, "min_steps": 200, "scheduler": "halving",
    }
)  # fmt: skip
GRID = {
    "backbone": "test_resnet", "methods": "simclr,random", "references": "none", "augmentations": "weak", "lrs": "1x",
    "image_size": 16, "batch_size": 64, "per_class": "5", "epochs": 2, "executor": "inline", "threads": 1,
    "device": "cpu", "precision": "fp32", "weights": "none",
}  # fmt: skip


IMAGES = ItemTable.of([Item("image.png", "class")])


@dataclass(frozen=True)
class Costs:
    """Trainings of 100 s and evaluations of 10 s."""

    config: StudyConfig
    items: ItemTable = IMAGES

    def training(self, job: Job) -> float:
        return 0.0 if job.cells[0].lr is None else 2.0 * self.config.epochs

    def evaluation(self, job: Job) -> float:
        return 10.0


def fit(budget: str, *, elapsed: float = 0.0, config: StudyConfig = CONFIG) -> FittedStudy:
    """What a budget of which some seconds have elapsed makes of the study."""
    jobs = lay_out(config, labelled=True).jobs
    costs = cast(JobCosts, Costs(config))
    return fit_into_budget(Budget(budget, 0.0, elapsed), config, None, jobs, costs, 1, lambda: elapsed)


def test_what_fits_and_what_does_not_is_said() -> None:
    assert fit("10m").sentences == (
        "In 10m on this machine: random; simclr and byol at 1x with policy simclr; 5 and 20 per class; 50 epochs. "
        "Left out: policy weak; rate 0.3x and 3x.",
    )


def test_where_all_fits_that_is_said() -> None:
    fitted = fit("1d")
    assert fitted.sentences[0].startswith("Everything that was asked for fits into 1d on this machine: random; simclr")
    assert fitted.notes == {"budget": "1d", "left_out": ""}


def test_fewer_epochs_are_said_and_noted_with_the_steps_in_proportion() -> None:
    fitted = fit("3m")
    epochs = fitted.changes["epochs"]
    assert 5 <= epochs < 50
    assert fitted.changes["min_steps"] == 200 * epochs // 50
    assert fitted.notes["shortened"] == {"epochs": [50, epochs], "min_steps": [200, fitted.changes["min_steps"]]}
    assert f"trainings of this study have {epochs}, now and when it is gone on with" in fitted.sentences[1]


def test_what_fewer_epochs_leave_no_room_for_goes_and_the_same_command_goes_on(tmp_path: Path) -> None:
    asked = {"patience": 5, "knn_every": 5, "min_epochs": 30}
    config = CONFIG.model_copy(update=asked)
    fitted = fit("3m", config=config)
    assert {name: fitted.changes[name] for name in ("patience", "min_epochs")} == {"patience": 0, "min_epochs": None}
    assert f"have {fitted.changes['epochs']}, too few for --patience 5 and --min-epochs 30, now" in fitted.sentences[1]
    folder = StudyFolder(tmp_path)
    folder.running.mkdir()
    folder.write_config(config.model_copy(update=fitted.changes))
    folder.write_json("run.json", {"runs": [fitted.notes]})
    again = resolve_configuration(folder, {**asked, "epochs": 50, "min_steps": 200, "references": "none"})
    assert (again.epochs, again.patience, again.min_epochs) == (fitted.changes["epochs"], 0, None)


def test_time_that_has_gone_by_is_not_left() -> None:
    assert len(fit("10m", elapsed=300.0).cells) < len(fit("10m").cells)


def test_a_budget_for_nothing_is_refused_with_what_would_be_enough() -> None:
    with pytest.raises(UserError, match=r"^--budget 60s is too short for one cell .* in --budget 2m\.$"):
        fit("60s", elapsed=50.0)


def test_settings_are_halved_unless_a_scheduler_was_named() -> None:
    none = validate({"budget": "2h"})
    assert with_halving(none, {"budget": "2h"}).scheduler == "halving"
    assert with_halving(none, {"budget": "2h", "scheduler": "none"}).scheduler == "none"
    assert with_halving(validate({}), {}).scheduler == "none"


def test_a_study_with_fewer_epochs_is_gone_on_with_by_the_same_command(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    folder.running.mkdir()
    folder.write_config(validate({"methods": "simclr", "backbones": "test_resnet", "image_size": 32, "epochs": 23}))
    same = {"methods": "simclr", "image_size": 32, "epochs": 100}
    with pytest.raises(UserError, match="epochs: 23 in the study, 100 now"):
        resolve_configuration(folder, same)
    folder.write_json("run.json", {"runs": [{"shortened": {"epochs": [100, 23]}}, {}]})
    assert resolve_configuration(folder, same).epochs == 23
    with pytest.raises(UserError, match="epochs: 23 in the study, 50 now"):
        resolve_configuration(folder, {**same, "epochs": 50})


def test_a_budget_is_refused_where_cells_run_elsewhere() -> None:
    with pytest.raises(UserError, match="--budget 2h goes by the speed of this machine"):
        resolve_configuration(None, {"budget": "2h"}, here=False)


class Observer(Watcher):
    """Keeps what is said, and sees the first epoch of a training."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.trained = False

    def say(self, line: str) -> None:
        self.said.append(line)

    def on_event(self, event: Event) -> None:
        self.trained |= isinstance(event, EpochDone)


def last_run(study: selfsup.Study) -> dict[str, Any]:
    return json.loads((study.path / "run.json").read_text())["runs"][-1]


def test_a_study_whose_time_is_over_reports_what_it_has_and_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is over when a training has had an epoch; it then waits with its checkpoint."""
    watcher, grid = Observer(), {**GRID, "budget": "3h"}
    clock = SimpleNamespace(monotonic=lambda: math.inf if watcher.trained else 0.0)
    monkeypatch.setattr(_stop, "time", clock)
    study = selfsup.compare("digits", out=tmp_path / "study", watcher=watcher, **grid)
    assert set(study.results.method) == {"random"}
    assert last_run(study)["left_out"] == "simclr"
    page = study.report().read_text(encoding="utf-8")
    assert "--budget 3h left no time for: simclr" in page
    assert "1 of 2 cells so far, within --budget 3h" in page
    assert any(line.startswith("What 3h left out: simclr.") for line in watcher.said)
    assert list((study.path / "running").glob("simclr*/checkpoint.pt"))
    assert (study.config.budget, study.config.scheduler) == (None, "halving")
    monkeypatch.undo()
    selfsup.compare("digits", out=study.path, **{**grid, "budget": "1d"})
    assert set(study.results.method) == {"random", "simclr"}
    assert last_run(study)["left_out"] == ""
    assert "left no time" not in study.report().read_text(encoding="utf-8")
