"""Scores of predicted against true classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selfsup.csv_files import csv_text


@dataclass(frozen=True)
class Scores:
    """Scores in [0, 1]; balanced accuracy and macro-F1 are means over the classes that were tested.

    Attributes
    ----------
    confusion : ndarray of int64, shape (classes, classes)
        Rows: true class; columns: predicted class.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    confusion: np.ndarray


def score(true: np.ndarray, predicted: np.ndarray, *, num_classes: int) -> Scores:
    """Scores of one set of predictions; `true` must not be empty."""
    from sklearn.metrics import confusion_matrix, f1_score

    confusion = confusion_matrix(true, predicted, labels=np.arange(num_classes)).astype(np.int64)
    tested = np.unique(true)
    recall = confusion.diagonal()[tested] / confusion.sum(axis=1)[tested]
    return Scores(
        accuracy=float((true == predicted).mean()),
        balanced_accuracy=float(recall.mean()),
        macro_f1=float(f1_score(true, predicted, labels=tested, average="macro", zero_division=0)),
        confusion=confusion,
    )


def macro_auroc(true: np.ndarray, probabilities: np.ndarray) -> float:
    """Area under the ROC curve of each tested class against the rest, mean over these classes.

    Parameters
    ----------
    true : ndarray of int64, shape (n,)
    probabilities : ndarray, shape (n, classes)

    Returns
    -------
    float
        In [0, 1]; NaN where fewer than two classes were tested.
    """
    from sklearn.metrics import roc_auc_score

    tested = np.unique(true)
    if len(tested) < 2:
        return math.nan
    return float(roc_auc_score(true[:, None] == tested, probabilities[:, tested], average="macro"))


def per_class_csv(confusion: np.ndarray, classes: Sequence[str]) -> str:
    """A CSV with precision, recall, F1 and number of test images of every class, sorted as `classes`."""
    rows = []
    hits, true, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    for name, hit, n_true, n_predicted in zip(classes, hits, true, predicted, strict=True):
        precision = hit / n_predicted if n_predicted else 0.0
        recall = hit / n_true if n_true else 0.0
        f1 = 2 * hit / (n_true + n_predicted) if n_true + n_predicted else 0.0
        rows.append([name, f"{precision:.6f}", f"{recall:.6f}", f"{f1:.6f}", int(n_true)])
    return csv_text(["class", "precision", "recall", "f1", "test_images"], rows)
