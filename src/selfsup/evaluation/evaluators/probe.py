"""The linear probe: a linear classifier on the frozen embedding, chosen on validation, quoted on test."""

from __future__ import annotations

import numpy as np

from selfsup.evaluation.base import Column, Evaluated, Evaluator
from selfsup.evaluation.evaluation_context import EvaluationContext
from selfsup.evaluation.linear_probe import fit_linear_probe
from selfsup.evaluation.scores import score


def _evaluate(cell: EvaluationContext) -> Evaluated:
    probe = fit_linear_probe(
        cell.train.x,
        cell.train.y,
        cell.val.x,
        cell.val.y,
        num_classes=len(cell.classes),
        solver=cell.config.probe,
        device=cell.device,
        seed=cell.seed,
    )
    probabilities = probe.probabilities(cell.test.x)
    predicted = probabilities.argmax(axis=1)
    scores = score(cell.test.y, predicted, num_classes=len(cell.classes))
    return Evaluated(
        {
            "val_accuracy": probe.val_accuracy,
            "test_accuracy": scores.accuracy,
            "test_balanced_accuracy": scores.balanced_accuracy,
            "test_macro_f1": scores.macro_f1,
            "probe_strength": probe.C,
        },
        extras={"confusion": scores.confusion.tolist()},
        arrays={"probe": {name: np.asarray(value) for name, value in vars(probe).items()}},
        predicted=predicted,
        confidence=probabilities.max(axis=1).astype(np.float32),
    )


evaluator = Evaluator(
    _evaluate,
    columns=(
        Column(
            "val_accuracy",
            float,
            "linear probe, validation accuracy: multinomial logistic regression on the frozen, standardised embedding, "
            "at the L2 penalty (of seven) that is best on validation. `--probe sgd`: 100 epochs of SGD without penalty "
            "(He et al. 2020), the learning rate chosen on validation",
            heading="validation",
            better="higher",
        ),
        Column("test_accuracy", float, "linear probe, test accuracy", heading="test", better="higher"),
        Column(
            "test_balanced_accuracy",
            float,
            "linear probe, balanced test accuracy: mean over classes of the share of their images that are found",
            heading="balanced",
            better="higher",
        ),
        Column(
            "test_macro_f1",
            float,
            "linear probe, macro F1 on test: mean over classes",
            heading="macro F1",
            better="higher",
        ),
        Column(
            "probe_strength", float, "C of the linear probe: inverse of its penalty, or its learning rate", last=True
        ),
    ),
    needs_labels=True,
    default=True,
    order=10,
)
