"""Scores of predicted against true classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selfsup.csv_files import csv_text


@dataclass(frozen=True)
class Scores:
    """Scores in [0, 1]; balanced accuracy and macro-F1 are means over the classes that were tested."""

    accuracy: float
    balanced_accuracy: float
    macro_f1: float


def score(true: np.ndarray, predicted: np.ndarray, *, num_classes: int) -> Scores:
    """Scores of one set of predictions; `true` must not be empty."""
    hits, n_true, n_predicted = _counts(true, predicted, num_classes)
    tested = np.flatnonzero(n_true)
    recall = hits[tested] / n_true[tested]
    f1 = 2 * hits[tested] / (n_true + n_predicted)[tested]
    return Scores(float((true == predicted).mean()), float(recall.mean()), float(f1.mean()))


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
    tested = np.unique(true)
    if len(tested) < 2:
        return math.nan
    return float(np.mean([_shares_below(probabilities[:, c], true == c).mean() for c in tested]))


def _shares_below(scores: np.ndarray, of_it: np.ndarray) -> np.ndarray:
    """Of each image of a class, the share of the others whose score is lower, a tie counting half."""
    own = np.sort(scores[of_it])
    below = _below(np.sort(scores), own) - _below(own, own)
    return below / (len(scores) - len(own))


def _below(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How many of `ordered` each value exceeds, a tie counting half."""
    return (np.searchsorted(ordered, values) + np.searchsorted(ordered, values, side="right")) / 2


def per_class_csv(true: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> str:
    """A CSV with precision, recall, F1 and number of test images of every class, sorted as `classes`."""
    rows = []
    for name, hit, n_true, n_predicted in zip(classes, *_counts(true, predicted, len(classes)), strict=True):
        precision = hit / n_predicted if n_predicted else 0.0
        recall = hit / n_true if n_true else 0.0
        f1 = 2 * hit / (n_true + n_predicted) if n_true + n_predicted else 0.0
        rows.append([name, f"{precision:.6f}", f"{recall:.6f}", f"{f1:.6f}", int(n_true)])
    return csv_text(["class", "precision", "recall", "f1", "test_images"], rows)


def _counts(true: np.ndarray, predicted: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each class the images named rightly, those of it and those taken for it, int64 of shape (classes,) each."""
    hits, n_true, n_predicted = (
        np.bincount(part, minlength=classes) for part in (true[true == predicted], true, predicted)
    )
    return hits, n_true, n_predicted
