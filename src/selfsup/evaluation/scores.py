"""Scores of each class, or label."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from selfsup.csv_files import csv_text
from selfsup.evaluation.metrics import MEAN_AP, METRICS, THRESHOLD, one_against_rest

#: Of each label, where images may have several.
LABEL_SCORES = ("average_precision", "auroc", "precision", "recall", "f1")


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
        for name, metric in (("average_precision", MEAN_AP), ("auroc", METRICS["auroc"])):
            found[name][label] = metric.value(of_it[:, None], scores[:, None])
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
