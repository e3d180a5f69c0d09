"""What a tracker is: it logs a finished cell, read from its folder, as one run."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from selfsup.config.schema import StudyConfig, role_of
from selfsup.record.folder import StudyFolder
from selfsup.record.results import CellResult


@dataclass(frozen=True)
class Point:
    """What a training logged in one epoch.

    Attributes
    ----------
    epoch : int
        From 1.
    values : dict of str to float
        Finite values by name, for example ``"train/loss"``.
    """

    epoch: int
    values: dict[str, float]


@dataclass(frozen=True)
class FinishedCell:
    """A cell that has ended, as a tracker logs it.

    Attributes
    ----------
    study : str
        Name of the study, under which its runs are grouped.
    key : str
        Names the cell among those of all studies, in letters and digits; the same at every attempt.
    id : str
        The cell's id.
    parameters : dict
        The cell's place in the grid, its status, the method's settings, the study's configuration
        and the versions; may hold dicts.
    metrics : dict of str to float
        The numbers of the cell's row in ``results.csv``.
    curve : tuple of Point
        In the order of the epochs; empty for a baseline without training.
    files : tuple of Path
        The files to keep with the run, pictures among them.
    """

    study: str
    key: str
    id: str
    parameters: dict[str, Any]
    metrics: dict[str, float]
    curve: tuple[Point, ...]
    files: tuple[Path, ...]

    @property
    def pictures(self) -> tuple[Path, ...]:
        """The PNG files among `files`."""
        return tuple(path for path in self.files if path.suffix == ".png")

    @property
    def last_epoch(self) -> int:
        """The epoch after which the cell was evaluated; 0 without training."""
        return self.curve[-1].epoch if self.curve else 0


class Tracker(Protocol):
    """Logs finished cells to one tool.

    Attributes
    ----------
    packages : tuple of str
        Modules that it imports; all come with the extra ``track``.
    """

    packages: tuple[str, ...]

    def store(self, home: Path) -> str:
        """Where the runs go: ``"local"`` for `home`, or a server's address without passwords."""

    def log(self, cell: FinishedCell, home: Path) -> None:
        """Log `cell` as one run, in place of what an attempt that was cut short has left of it.

        `home` is a folder of the study that is this tracker's own. Called in a thread of the
        tracker's own, one cell at a time. Whatever it raises is told to the user; the study goes on.
        """

    def hint(self, home: Path) -> str:
        """How to see what was logged, as the end of a sentence; holds no password."""


def read_cell(folder: StudyFolder, cell_id: str, *, key: str, weights: bool) -> FinishedCell:
    """The recorded cell `cell_id`; its weights are among the files only if `weights` says so."""
    place = folder.cells / cell_id
    about = json.loads((place / "config.json").read_text(encoding="utf-8"))
    result = CellResult.read(json.loads((place / "metrics.json").read_text(encoding="utf-8")))
    return FinishedCell(
        study=folder.path.resolve().name,
        key=key,
        id=cell_id,
        parameters=_parameters(about, result),
        metrics=_metrics(result),
        curve=_curve(place / "training_log.csv"),
        files=tuple(sorted(path for path in place.iterdir() if weights or path != folder.weights(cell_id))),
    )


def _parameters(about: dict[str, Any], result: CellResult) -> dict[str, Any]:
    study = {
        name: value
        for name, value in about["study"].items()
        if name in StudyConfig.model_fields and role_of(name) == "identity" and name != "settings"
    }
    return {
        **about["cell"],
        "status": result.status,
        "settings": about["settings"],
        "study": study,
        "versions": about["versions"],
    }


def _metrics(result: CellResult) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in result.values.items()
        if isinstance(value, int | float) and name not in ("lr", "lr_multiple", "seed")
    }


def _curve(log: Path) -> tuple[Point, ...]:
    if not log.exists():
        return ()
    with open(log, newline="", encoding="utf-8") as file:
        return tuple(_point(row) for row in csv.DictReader(file))


def _point(row: dict[str, str]) -> Point:
    numbers = {f"train/{name}": float(text) for name, text in row.items() if name != "epoch" and text}
    return Point(int(row["epoch"]), {name: value for name, value in numbers.items() if math.isfinite(value)})
