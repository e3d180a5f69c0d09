"""Scores of predicted against true classes, or labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selfsup.csv_files import csv_text
from selfsup.evaluation.metrics import MEAN_AP, METRICS, THRESHOLD, below, one_against_rest

#: Of each label, where images may have several.
LABEL_SCORES = ("average_precision", "auroc", "precision", "recall", "f1")


@dataclass(frozen=True)
class Scores:
    """Scores in [0, 1]; balanced accuracy and macro-F1 are means over the classes that were tested.

    NaN of images with several labels are those of images that have one each.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float


def score(true: np.ndarray, predicted: np.ndarray, *, num_classes: int) -> Scores:
    """Scores of one set of predictions; `true` must not be empty.

    Parameters
    ----------
    true, predicted : ndarray of int64, shape (n,), or bool, shape (n, labels)
    """
    if true.ndim == 2:
        return Scores(math.nan, math.nan, METRICS["macro-f1"].value(true, predicted.astype(float)))
    hits, n_true, n_predicted = _counts(true, predicted, num_classes)
    tested = np.flatnonzero(n_true)
    recall = hits[tested] / n_true[tested]
    f1 = 2 * hits[tested] / (n_true + n_predicted)[tested]
    return Scores(float((true == predicted).mean()), float(recall.mean()), float(f1.mean()))


def macro_auroc(true: np.ndarray, probabilities: np.ndarray) -> float:
    """Area under the ROC curve of each tested class against the rest, mean over these classes.

    Parameters
    ----------
    true : ndarray of int64, shape (n,), or bool, shape (n, labels)
    probabilities : ndarray, shape (n, classes)

    Returns
    -------
    float
        In [0, 1]; NaN where fewer than two classes were tested, or no label that some images have and others not.
    """
    areas = [auroc(of_it, probabilities[:, c]) for c, of_it in one_against_rest(true) if not of_it.all()]
    return float(np.mean(areas)) if areas else math.nan


def auroc(of_it: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve of one class, to which `of_it` says which images belong."""
    return float(_shares_below(scores, of_it).mean())


def label_scores(true: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of each label against the rest.

    Parameters
    ----------
    true : ndarray of bool, shape (n, labels)
    probabilities : ndarray, shape (n, labels)

    Returns
    -------
    dict of str to ndarray of float64, shape (labels,)
        ``average_precision``, ``auroc``, and of what is predicted from `THRESHOLD` on ``precision``, ``recall`` and
        ``f1``; NaN where no image has the label, ``auroc`` also where all have it. ``test_images`` that have it.
    """
    found = {name: np.full(true.shape[1], np.nan) for name in LABEL_SCORES}
    found["test_images"] = true.sum(axis=0)
    for label, of_it in one_against_rest(true):
        scores = probabilities[:, label]
        predicted = scores >= THRESHOLD
        hits, named = int((predicted & of_it).sum()), int(predicted.sum())
        found["average_precision"][label] = MEAN_AP.value(of_it[:, None], scores[:, None])
        found["auroc"][label] = math.nan if of_it.all() else auroc(of_it, scores)
        found["precision"][label] = hits / named if named else 0.0
        found["recall"][label] = hits / of_it.sum()
        found["f1"][label] = 2 * hits / (of_it.sum() + named)
    return found


def label_scores_csv(true: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> str:
    """A CSV with the scores of every label, sorted as `classes`; empty where there is none."""
    found = label_scores(true, probabilities)
    columns = [["" if math.isnan(value) else f"{value:.6f}" for value in found[name]] for name in LABEL_SCORES]
    rows = zip(classes, *columns, found["test_images"].tolist(), strict=True)
    return csv_text(["label", *LABEL_SCORES, "test_images"], rows)


def _shares_below(scores: np.ndarray, of_it: np.ndarray) -> np.ndarray:
    """Of each image of a class, the share of the others whose score is lower, a tie counting half."""
    own = np.sort(scores[of_it])
    return (below(np.sort(scores), own) - below(own, own)) / (len(scores) - len(own))


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
