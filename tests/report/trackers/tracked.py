"""A small study to log, and what a tracker should have logged of its cells, read from their folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from selfsup.record.folder import StudyFolder
from selfsup.report.trackers import following, load_trackers

GRID = {
    "methods": "random,supervised",
    "augmentations": "weak",
    "lrs": "0.03,1e30",
    "per_class": "5",
    "backbone": "test_resnet",
    "image_size": 16,
    "epochs": 3,
    "batch_size": 16,
    "keep": "all",
    "executor": "inline",
    "precision": "fp32",
    "threads": 1,
    "device": "cpu",
}
CELLS = {
    "random-test_resnet-n5-s0",
    "supervised-test_resnet-weak-lr0.03-n5-s0",
    "supervised-test_resnet-weak-lr1e+30-n5-s0",
}

CURVES = ("loss", "lr", "momentum", "embedding_std", "effective_rank", "images_per_second")
METRICS = ("val_accuracy", "test_accuracy", "knn_accuracy", "final_loss", "effective_rank", "train_images")
APPROX = {"rel": 1e-6, "abs": 1e-6}  # TensorBoard keeps single precision


class CellRecord:
    """The values in one cell's folder."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.metrics = json.loads((place / "metrics.json").read_text())
        log = place / "training_log.csv"
        self.log = pd.read_csv(log) if log.exists() else pd.DataFrame({"epoch": []})

    @property
    def files(self) -> set[str]:
        return {path.name for path in self.place.iterdir()}

    @property
    def pictures(self) -> dict[str, tuple[int, int]]:
        """Width and height of each PNG file, by its name without the ending."""
        return {path.stem: Image.open(path).size for path in self.place.glob("*.png")}

    def check_metrics(self, logged: dict[str, float]) -> None:
        for name in METRICS:
            if self.metrics[name] is None:
                assert name not in logged
            else:
                assert logged[name] == pytest.approx(self.metrics[name], **APPROX)

    def check_curves(self, logged: dict[str, list[tuple[int, float]]]) -> None:
        """`logged` holds (epoch, value) by the curve's name; what is not finite cannot be drawn."""
        for name in CURVES if len(self.log) else ():
            finite = self.log[self.log[name].abs() < float("inf")]
            expected = list(zip(finite.epoch, finite[name], strict=True))
            assert logged.get(f"train/{name}", []) == [(epoch, pytest.approx(v, **APPROX)) for epoch, v in expected]


def copy_study(study: Path, place: Path) -> StudyFolder:
    """A copy under a name that a careless program would trip over."""
    return StudyFolder(Path(shutil.copytree(study, place / "a study's ü folder")))


def log_to(name: str, folder: StudyFolder, *, weights: bool = False) -> list[str]:
    """Log the study to the tracker `name`; returns what people were told."""
    lines: list[str] = []
    with following(folder, load_trackers([name]), lines.append, weights=weights):
        pass
    return lines


def forget(folder: StudyFolder, name: str, cell_id: str) -> None:
    """Leave the study as a crash would between logging the cell and noting it."""
    path = folder.path / "tracking" / name / "logged.json"
    ledger = json.loads(path.read_text())
    ledger["cells"]["local"].remove(cell_id)
    path.write_text(json.dumps(ledger))
