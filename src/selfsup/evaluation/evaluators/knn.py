"""Weighted nearest neighbours on frozen embeddings (Wu et al. 2018, section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from selfsup.evaluation.base import Column, Evaluated, Evaluator
from selfsup.evaluation.embedding import unit_rows
from selfsup.evaluation.evaluation_context import EvaluationContext

#: Neighbours and temperature; k is the smaller of this and the number of training images.
NEIGHBOURS = 20
TEMPERATURE = 0.07


def knn_predict(
    train_x: np.ndarray,
    train_y: np.ndarray,
    test_x: np.ndarray,
    *,
    num_classes: int,
    k: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
    chunk: int = 4096,
) -> np.ndarray:
    """Class with the largest sum of exp(cosine similarity / temperature) among the k nearest.

    Parameters
    ----------
    train_x, test_x : ndarray, shape (n, width)
    train_y : ndarray of int64, shape (n,)
    chunk : int
        Test images handled at once, which bounds the memory.

    Returns
    -------
    ndarray of int64, shape (len(test_x),)
    """
    return knn_predict_each(
        train_x, train_y, test_x, (k,), num_classes=num_classes, temperature=temperature, chunk=chunk
    )[0]


def knn_predict_each(
    train_x: np.ndarray,
    train_y: np.ndarray,
    test_x: np.ndarray,
    ks: Sequence[int],
    *,
    num_classes: int,
    temperature: float = TEMPERATURE,
    chunk: int = 4096,
) -> np.ndarray:
    """As :func:`knn_predict`, for several k at once: int64, shape (len(ks), len(test_x))."""
    ks = [min(k, len(train_x)) for k in ks]
    bank, most = unit_rows(train_x), max(ks)
    predicted = np.empty((len(ks), len(test_x)), np.int64)
    for start in range(0, len(test_x), chunk):
        similarity = unit_rows(test_x[start : start + chunk]) @ bank.T
        nearest = np.argpartition(-similarity, most - 1, axis=1)[:, :most]
        order = np.argsort(-np.take_along_axis(similarity, nearest, axis=1), axis=1, kind="stable")
        nearest = np.take_along_axis(nearest, order, axis=1)
        close = np.take_along_axis(similarity, nearest, axis=1)
        # Relative to the nearest, which votes the same: exp(1 / temperature) is beyond float32 from 0.0113 down.
        weights = np.exp((close - close[:, :1]) / temperature)
        for row, k in enumerate(ks):
            votes = np.zeros((len(similarity), num_classes))
            images = np.repeat(np.arange(len(votes)), k)
            np.add.at(votes, (images, train_y[nearest[:, :k]].ravel()), weights[:, :k].ravel())
            predicted[row, start : start + chunk] = votes.argmax(axis=1)
    return predicted


def _evaluate(cell: EvaluationContext) -> Evaluated:
    k, temperature = cell.config.knn_neighbours, cell.config.knn_temperature
    classes = len(cell.classes)
    predicted = knn_predict(cell.train.x, cell.train.y, cell.test.x, num_classes=classes, k=k, temperature=temperature)
    return Evaluated({"knn_accuracy": float((predicted == cell.test.y).mean())})


COLUMNS = (
    Column("knn_accuracy", "weighted kNN (Wu et al. 2018): test accuracy; `--knn-neighbours 20 --knn-temperature 0.07`",
           heading="kNN", better="higher"),
)  # fmt: skip
evaluator = Evaluator(_evaluate, COLUMNS, needs_labels=True, default=True, order=20)
