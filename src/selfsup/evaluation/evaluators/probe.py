"""The linear probe: a linear classifier on the frozen embedding, chosen on validation, quoted on test."""

from __future__ import annotations

import math

import numpy as np

from selfsup.evaluation.base import Column, Evaluated, Evaluator
from selfsup.evaluation.evaluation_context import EvaluationContext
from selfsup.evaluation.metrics import metrics_for, predictions


def _evaluate(cell: EvaluationContext) -> Evaluated:
    probe, test = cell.probe, cell.test
    probabilities = cell.test_probabilities
    predicted = predictions(probabilities, several=cell.several)
    of_classes = [metric for metric in metrics_for(several=cell.several) if not metric.ranks]
    columns = {
        "val_accuracy": math.nan if cell.several else probe.val_score,
        **{metric.test: metric.value(test.y, probabilities) for metric in of_classes},
        "probe_strength": probe.C,
    }
    return Evaluated(
        columns,
        arrays={"probe": {name: np.asarray(value) for name, value in vars(probe).items()}},
        predicted=predicted,
        confidence=(probabilities if cell.several else probabilities.max(axis=1)).astype(np.float32),
    )


COLUMNS = (
    Column("val_accuracy", "linear probe, validation accuracy: multinomial logistic regression on the frozen, "
           "standardised embedding, at the L2 penalty (of seven) that is best on validation; where classes times "
           "images are a million or more, each is left after ten steps from the solution of the one before. "
           "`--probe sgd`: 100 epochs of SGD without penalty (He et al. 2020), the learning rate chosen on validation. "
           "Where images have several labels, a logistic regression of each against the rest, at the one penalty that "
           "is best by mAP; columns of accuracy are then empty",
           heading="validation", better="higher"),
    Column("test_accuracy", "linear probe, test accuracy", heading="test", better="higher"),
    Column("test_balanced_accuracy", "linear probe, balanced test accuracy: mean over the classes of their recall",
           heading="balanced", better="higher"),
    Column("test_macro_f1", "linear probe, macro F1 on test: mean over the classes; of several labels, those of a "
           "probability of 0.5 and more are predicted",
           better="higher"),
    Column("probe_strength", "C of the linear probe: inverse of its penalty, or its learning rate", last=True),
)  # fmt: skip
evaluator = Evaluator(_evaluate, COLUMNS, needs_labels=True, takes_several=True, default=True, order=10)
