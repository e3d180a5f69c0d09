"""Area under the ROC curve of the linear probe's probabilities."""

from __future__ import annotations

from selfsup.evaluation.base import Column, Evaluated, Evaluator
from selfsup.evaluation.evaluation_context import EvaluationContext
from selfsup.evaluation.metrics import METRICS


def _evaluate(cell: EvaluationContext) -> Evaluated:
    return Evaluated({"auroc": METRICS["auroc"].value(cell.test.y, cell.test_probabilities)})


COLUMNS = (
    Column("auroc", "linear probe, area under the ROC curve on test: of each class against the rest, mean over the "
           "classes", better="higher"),
)  # fmt: skip
evaluator = Evaluator(_evaluate, COLUMNS, needs_labels=True, takes_several=True, default=True, order=91)
