"""The number of neighbours is chosen on validation and quoted on test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from selfsup.config.validation import validate
from selfsup.evaluation.evaluation_context import Part
from selfsup.evaluation.evaluators.knn import knn_predict
from selfsup.evaluation.evaluators.knn_best import evaluator
from selfsup.testing.evaluators import evaluation_of_digits


def test_the_number_is_the_best_on_validation_and_of_equals_the_largest() -> None:
    cell, ks = evaluation_of_digits(), (1, 2, 5, 10, 20, 50, 100)  # of 160 training images

    def accuracy(part: Part, k: int) -> float:
        predicted = knn_predict(cell.train.x, cell.train.y, part.x, num_classes=10, k=k)
        return float((predicted == part.y).mean())

    accuracies = {k: accuracy(cell.val, k) for k in ks}
    best = max(k for k in ks if accuracies[k] == max(accuracies.values()))
    assert min(accuracies.values()) < accuracies[best]
    assert dict(evaluator.evaluate(cell).values) == {"knn_best_accuracy": accuracy(cell.test, best), "knn_k": best}


def test_among_outliers_many_neighbours_are_chosen_and_among_small_groups_one() -> None:
    """Two classes on an arc: of the training images every fifth is of the other class, or pairs take turns."""
    angles = np.linspace(0, np.pi, 200)
    x = np.c_[np.cos(angles), np.sin(angles)].astype(np.float32)
    halves, stripes = np.arange(200) // 100, np.arange(200) // 2 % 2
    outliers = np.where(np.arange(200) % 5 == 0, 1 - halves, halves)
    cell = evaluation_of_digits()
    for train, truth, few in ((outliers, halves, False), (stripes, stripes, True)):
        parts = {"train": Part(np.arange(200), x, train), "val": Part(np.arange(200), x, truth)}
        found = evaluator.evaluate(replace(cell, **parts, test=parts["val"])).values
        assert (found["knn_k"] <= 2) == few
        assert found["knn_best_accuracy"] > 0.95


def test_without_validation_images_the_number_is_that_of_the_configuration() -> None:
    cell = evaluation_of_digits(val=np.empty(0, np.int64))
    network = replace(cell.network, config=validate({"knn_neighbours": 7}))
    assert evaluator.evaluate(replace(cell, network=network)).values["knn_k"] == 7
