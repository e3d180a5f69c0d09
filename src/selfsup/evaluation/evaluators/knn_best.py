"""Weighted nearest neighbours, as many as are best on validation."""

from __future__ import annotations

import numpy as np

from selfsup.evaluation.base import Column, Evaluated, Evaluator
from selfsup.evaluation.evaluation_context import EvaluationContext, Part
from selfsup.evaluation.evaluators.knn import knn_predict_each

#: Numbers of neighbours that validation chooses from; of equally good ones the largest.
NEIGHBOURS = (200, 100, 50, 20, 10, 5, 2, 1)


def _evaluate(cell: EvaluationContext) -> Evaluated:
    def accuracies(part: Part, *ks: int) -> np.ndarray:
        predicted = knn_predict_each(
            cell.train.x, cell.train.y, part.x, ks,
            num_classes=len(cell.classes), temperature=cell.config.knn_temperature,
        )  # fmt: skip
        return (predicted == part.y).mean(axis=1)

    numbers = [k for k in NEIGHBOURS if k <= len(cell.train.y)]
    best = numbers[accuracies(cell.val, *numbers).argmax()] if len(cell.val.y) else cell.config.knn_neighbours
    return Evaluated({"knn_best_accuracy": float(accuracies(cell.test, best)[0]), "knn_k": best})


COLUMNS = (
    Column("knn_best_accuracy", "kNN, test accuracy with the number of neighbours, from 1 to 200, that is best on "
           "validation", better="higher"),
    Column("knn_k", "this number; without validation images that of `--knn-neighbours`", int),
)  # fmt: skip
evaluator = Evaluator(_evaluate, COLUMNS, needs_labels=True, default=True, order=93)
