"""One row of the results: how a cell ended, and every number that is known of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from selfsup.config.grid import Cell, PerClass

#: A scheduler has stopped the cell's training early, or lets it wait for others; it may go on in a later run.
PRUNED = "pruned"
#: How a cell can end. A failed cell is tried again by the next run; those in `FINAL` are not.
STATUSES = ("done", "diverged", "collapsed", PRUNED, "failed")
FINAL = ("done", "diverged", "collapsed")
#: The only columns of the results that may differ between two runs of the same study.
MEASURED_COLUMNS = ("train_seconds", "images_per_second")


@dataclass(frozen=True)
class CellResult:
    """One row of ``results.csv``; None where a value does not apply."""

    cell: str
    method: str
    augmentation: str | None
    lr: float | None
    per_class: str
    seed: int
    status: str
    epochs: int = 0
    val_accuracy: float | None = None
    test_accuracy: float | None = None
    test_balanced_accuracy: float | None = None
    test_macro_f1: float | None = None
    knn_accuracy: float | None = None
    few_shot_accuracy: float | None = None
    few_shot_sd: float | None = None
    finetune_accuracy: float | None = None
    finetune_val_accuracy: float | None = None
    finetune_lr: float | None = None
    final_loss: float | None = None
    train_seconds: float | None = None
    images_per_second: float | None = None
    train_images: int | None = None
    embedding_std: float | None = None
    effective_rank: float | None = None
    alpha_req: float | None = None
    lidar: float | None = None
    alignment: float | None = None
    uniformity: float | None = None
    clusters: int | None = None
    cluster_stability: float | None = None
    silhouette: float | None = None
    probe_strength: float | None = None
    rung_score: float | None = None
    message: str | None = None

    @classmethod
    def of(cls, cell: Cell, status: str, **values: Any) -> CellResult:
        """A row for `cell`; numbers that are not finite are left empty, bytes of no text are escaped."""
        clean: dict[str, Any] = {name: _plain(value) for name, value in values.items()}
        return cls(cell.id, cell.method, cell.augmentation, cell.lr, str(cell.per_class), cell.seed, status, **clean)

    @classmethod
    def read(cls, metrics: Mapping[str, Any]) -> CellResult:
        """The row in the content of a ``metrics.json``."""
        return cls(**{field.name: metrics.get(field.name) for field in fields(cls)})  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    # A message may quote a file's name that is not valid Unicode, which no table can hold.
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


RESULT_COLUMNS = tuple(field.name for field in fields(CellResult))


def per_class_of(text: str) -> PerClass:
    """The number of images per class that a table's text stands for."""
    return "all" if text == "all" else int(text)
