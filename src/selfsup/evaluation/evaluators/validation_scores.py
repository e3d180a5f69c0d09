"""The linear probe on validation images, by each metric that settings may be chosen by."""

from __future__ import annotations

from selfsup.evaluation.base import Column, Evaluated, Evaluator
from selfsup.evaluation.evaluation_context import EvaluationContext
from selfsup.evaluation.metrics import ACCURACY, metrics_for


def _evaluate(cell: EvaluationContext) -> Evaluated:
    probabilities = cell.val_probabilities
    others = [metric for metric in metrics_for(several=cell.several) if metric is not ACCURACY]
    return Evaluated({metric.validation: metric.value(cell.val.y, probabilities) for metric in others})


COLUMNS = (
    Column("val_balanced_accuracy", "linear probe, balanced validation accuracy", better="higher"),
    Column("val_macro_f1", "linear probe, macro F1 on validation", better="higher"),
    Column("val_auroc", "linear probe, area under the ROC curve on validation", better="higher"),
    Column("val_map", "linear probe, mean average precision on validation", better="higher"),
)
evaluator = Evaluator(_evaluate, COLUMNS, needs_labels=True, takes_several=True, default=True, order=97)
