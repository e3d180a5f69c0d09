"""Mean average precision of the linear probe's probabilities."""

from __future__ import annotations

from selfsup.evaluation.base import Column, Evaluated, Evaluator
from selfsup.evaluation.evaluation_context import EvaluationContext
from selfsup.evaluation.metrics import MEAN_AP


def _evaluate(cell: EvaluationContext) -> Evaluated:
    return Evaluated({"test_map": MEAN_AP.value(cell.test.y, cell.test_probabilities)})


COLUMNS = (
    Column("test_map", "linear probe, mean average precision (mAP) on test: of each class, or label, against the rest, "
           "the mean over its images of the precision among all that are ranked no lower; mean over the classes",
           better="higher"),
)  # fmt: skip
evaluator = Evaluator(_evaluate, COLUMNS, needs_labels=True, takes_several=True, default=True, order=98)
