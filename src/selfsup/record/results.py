"""One row of the results: how a cell ended, and every number that is known of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from selfsup import registry
from selfsup.config.axes import AXES
from selfsup.config.grid import Cell
from selfsup.errors import UserError
from selfsup.evaluation.base import Column
from selfsup.evaluation.evaluators import load_evaluators

#: A scheduler has stopped the cell's training early, or lets it wait for others; it may go on in a later run.
PRUNED = "pruned"
#: It is tried again by the next run.
FAILED = "failed"
#: How a cell can end. Those in `FINAL` are not run again.
STATUSES = ("done", "diverged", "collapsed", PRUNED, FAILED)
FINAL = ("done", "diverged", "collapsed")
#: The only columns of the results that may differ between two runs of the same study.
MEASURED_COLUMNS = ("train_seconds", "images_per_second")


#: A row begins with these columns,
CELL = (
    Column("cell", "id of the cell", str, form=""),
    *(Column(axis.name, axis.about, axis.type, heading=axis.heading, form=axis.form) for axis in AXES),
    Column(
        "lr_multiple", "the learning rate as a multiple of the one in the method's recipe, where it was asked for so"
    ),
    Column("status", f"how it ended: {', '.join(STATUSES)}", str, heading="status", form=""),
    Column("epochs", "epochs that were trained", int),
)
#: has these of the training between those of evaluators,
TRAINING = (
    Column("final_loss", "loss of the last epoch", heading="loss"),
    Column("train_seconds", "time of the training", heading="seconds", form=".0f"),
    Column("images_per_second", "median over the epochs"),
    Column(
        "train_images",
        "images with a label that the probe is fitted on, 50,000 at most; under `label-efficiency` "
        "methods without labels train on more, all that are not held out",
        int,
    ),
)
#: and ends with these.
REMARKS = (
    Column("rung_score", "of a `pruned` cell: what a scheduler compared its training by, after `epochs` epochs: "
           "what `--metric` names, of the linear probe on validation, or effective rank without labels; 0 where the "
           "embedding had collapsed"),
    Column("message", "why it has no scores, or none to be trusted", str, form=""),
)  # fmt: skip
#: Where the columns of the training and the remarks stand among those of evaluators, by these ones' order.
TRAINING_ORDER, REMARKS_ORDER = 50, 90


def result_columns() -> tuple[Column, ...]:
    """The columns of ``results.csv`` in their order.

    Raises
    ------
    UserError
        If an evaluator declares one that is there already.
    """
    placed = [(0, column) for column in CELL] + [(TRAINING_ORDER, column) for column in TRAINING]
    for evaluator in load_evaluators().values():
        placed += [(REMARKS_ORDER if column.last else evaluator.order, column) for column in evaluator.columns]
    placed += [(REMARKS_ORDER, column) for column in REMARKS]
    columns = tuple(column for _, column in sorted(placed, key=lambda pair: pair[0]))
    for name in (name for name, count in Counter(column.name for column in columns).items() if count > 1):
        raise UserError(f"The column '{name}' of results.csv is declared twice; rename that of the added evaluator.")
    return columns


@dataclass(frozen=True)
class CellResult:
    """One row of ``results.csv``: its columns are attributes, None where a value does not apply.

    Attributes
    ----------
    values : mapping of str to value
        By column.
    """

    values: Mapping[str, Any]

    @classmethod
    def of(cls, cell: Cell, status: str, **values: Any) -> CellResult:
        """A row for `cell`; numbers that are not finite are left empty, texts are one line of valid Unicode."""
        names = [column.name for column in result_columns()]
        registry.require(values, names, kind="column of results.csv:")
        about = {"cell": cell.id, **asdict(cell), "per_class": str(cell.per_class), "status": status, "epochs": 0}
        return cls({name: _plain((about | values).get(name)) for name in names})

    @classmethod
    def read(cls, metrics: Mapping[str, Any]) -> CellResult:
        """The row in the content of a ``metrics.json``."""
        return cls({column.name: _plain(metrics.get(column.name)) for column in result_columns()})

    def __getattr__(self, name: str) -> Any:
        values = vars(self).get("values", {})  # which are not there yet while it is unpickled
        if name not in values:
            raise AttributeError(f"a result has no column '{name}'")
        return values[name]


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, str):
        return value
    # A message may quote a file's name that is not valid Unicode, which no table can hold, or a library's line of
    # progress, in which a carriage return would begin a new row.
    return " ".join(value.encode("utf-8", "backslashreplace").decode().splitlines())
