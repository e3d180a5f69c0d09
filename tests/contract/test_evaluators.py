"""Every evaluator keeps the contract, and the contract's checks catch what breaks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from selfsup.evaluation.base import Column, Evaluated, Evaluator
from selfsup.evaluation.evaluation_context import EvaluationContext
from selfsup.evaluation.evaluators import load_evaluators
from selfsup.testing.evaluators import check_evaluator


@pytest.mark.parametrize("name", load_evaluators())
def test_evaluator_keeps_the_contract(name: str) -> None:
    check_evaluator(load_evaluators()[name])


# -- the checks themselves ---------------------------------------------------------------------------


def nearest_mean(cell: EvaluationContext) -> Evaluated:
    """A correct evaluator of a few lines: the class whose mean embedding is nearest."""
    if not cell.labelled:
        return Evaluated({"mean_accuracy": None})
    means = np.stack([cell.train.x[cell.train.y == label].mean(0) for label in range(len(cell.classes))])
    distances = ((cell.test.x[:, None] - means) ** 2).sum(2)
    predicted = distances.argmin(1)
    confidence = (1 / (1 + distances.min(1))).astype(np.float32)
    accuracy = float((predicted == cell.test.y).mean())
    return Evaluated({"mean_accuracy": accuracy}, {"n": 3}, {"means": {"x": means}}, predicted, confidence)


COLUMN = Column(name="mean_accuracy", about="nearest mean, test accuracy", type=float, better="higher")
CORRECT = Evaluator(nearest_mean, (COLUMN,))


def test_the_checks_accept_an_outside_evaluator() -> None:
    check_evaluator(CORRECT)
    check_evaluator(replace(CORRECT, needs_labels=True))


def evaluating(change: Callable[[EvaluationContext, Evaluated], Evaluated | None]) -> Evaluator:
    """The correct evaluator, and then `change`, which gives what is found or spoils something."""

    def evaluate(cell: EvaluationContext) -> Any:
        found = nearest_mean(cell)
        changed = change(cell, found)
        return found if changed is None else changed

    return Evaluator(evaluate, (COLUMN,))


def declaring(**changes: Any) -> Evaluator:
    return Evaluator(nearest_mean, (replace(COLUMN, **changes),))


def fit_to_test_labels(cell: EvaluationContext, found: Evaluated) -> Evaluated:
    return replace(found, predicted=cell.test.y.copy()) if cell.labelled else found


def scale_embeddings(cell: EvaluationContext, found: Evaluated) -> None:
    cell.train.x[:] *= 2


def train_network(cell: EvaluationContext, found: Evaluated) -> None:
    cell.network.backbone.train()


def shift_weights(cell: EvaluationContext, found: Evaluated) -> None:
    with torch.no_grad():
        next(cell.network.backbone.parameters()).add_(1)


def switch_gradients_off(cell: EvaluationContext, found: Evaluated) -> None:
    torch.set_grad_enabled(False)


def need_validation_images(cell: EvaluationContext, found: Evaluated) -> None:
    assert len(cell.val.indices) or not cell.labelled, "no validation images, no choice"


def need_labels(cell: EvaluationContext, found: Evaluated) -> None:
    assert cell.labelled, "no labels, no accuracy"


def valued(value: Any) -> Evaluator:
    return evaluating(lambda cell, found: replace(found, values={"mean_accuracy": value}))


BROKEN: dict[str, tuple[Evaluator, str]] = {
    "nothing declared": (Evaluator(nearest_mean, ()), "declares no column"),
    "a name with spaces": (declaring(name="mean accuracy"), "small letters"),
    "a name of ours": (declaring(name="knn_accuracy"), "a column 'knn_accuracy' already"),
    "one name twice": (Evaluator(nearest_mean, (COLUMN, replace(COLUMN))), "a column 'mean_accuracy' already"),
    "a type that no table has": (declaring(type=list), "not of str, int or float"),
    "no description": (declaring(about=""), "says nothing"),
    "no direction": (declaring(better="up"), "better = 'up'"),
    "text that is better": (declaring(type=str), "better = 'higher'"),
    "a column without a value": (
        Evaluator(nearest_mean, (COLUMN, replace(COLUMN, name="other"))),
        r"gives no value for: \['other'\]",
    ),
    "an undeclared value": (
        evaluating(lambda cell, found: replace(found, values={**found.values, "other": 1.0})),
        "'other', which it does not declare",
    ),
    "a number as text": (valued("0.5"), "is a str, declared as float"),
    "a number of NumPy's": (valued(np.float32(0.5)), "is a float32, declared as float"),
    "a truth for a number": (valued(True), "is a bool"),
    "a dictionary": (evaluating(lambda cell, found: found.values), "no Evaluated"),  # type: ignore[arg-type,return-value]
    "extras that are not JSON": (
        evaluating(lambda cell, found: replace(found, extras={"x": np.zeros(2)})),
        "cannot be written as JSON",
    ),
    "an array of objects": (
        evaluating(lambda cell, found: replace(found, arrays={"a": {"x": np.array([{}])}})),
        "arrays of 'a'",
    ),
    "predictions as floats": (
        evaluating(lambda cell, found: replace(found, predicted=np.zeros(len(cell.test.x)))),
        "predicted is float64",
    ),
    "a prediction too few": (
        evaluating(lambda cell, found: replace(found, predicted=np.zeros(len(cell.test.x) - 1, np.int64))),
        "predicted has shape",
    ),
    "a class too many": (
        evaluating(lambda cell, found: replace(found, predicted=np.full(len(cell.test.x), 10))),
        "predicted reaches from 10 to 10",
    ),
    "confidence in 64 bits": (
        evaluating(lambda cell, found: replace(found, confidence=np.ones(len(cell.test.x)))),
        "confidence is float64",
    ),
    "confidence as a number": (
        evaluating(lambda cell, found: replace(found, confidence=np.float32([1]))),
        "confidence has shape",
    ),
    "too much confidence": (
        evaluating(lambda cell, found: replace(found, confidence=np.full(len(cell.test.x), 2, np.float32))),
        r"confidence is not in \[0, 1\]",
    ),
    "luck": (
        evaluating(lambda cell, found: replace(found, values={"mean_accuracy": float(torch.rand(1))})),
        "evaluated again, a cell has other values: mean_accuracy",
    ),
    "luck of NumPy's": (
        evaluating(lambda cell, found: replace(found, extras={"n": float(np.random.rand())})),  # noqa: NPY002
        "evaluated again, a cell has other values: n",
    ),
    "fit to test labels": (evaluating(fit_to_test_labels), "predictions depend on the labels of the test images"),
    "changed embeddings": (evaluating(scale_embeddings), "changed what it was given: train.x"),
    "a network left in training": (evaluating(train_network), "changed what it was given: training"),
    "changed weights": (evaluating(shift_weights), "changed what it was given: network"),
    "gradients off": (evaluating(switch_gradients_off), "gradients switched off"),
    "wants validation images": (evaluating(need_validation_images), "no validation images, no choice"),
    "wants labels and does not say so": (evaluating(need_labels), "no labels, no accuracy"),
}


@pytest.mark.parametrize(("evaluator", "promise"), BROKEN.values(), ids=BROKEN)
def test_the_checks_name_the_promise_that_an_evaluator_breaks(evaluator: Evaluator, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise), torch.enable_grad():
        check_evaluator(evaluator)
