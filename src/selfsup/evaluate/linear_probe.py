"""The linear-classification protocol: multinomial logistic regression on frozen embeddings."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

#: Inverse strengths of the L2 penalty that validation chooses from (scikit-learn's C).
STRENGTHS = tuple(10.0**k for k in range(-4, 3))


@dataclass(frozen=True)
class LinearProbe:
    """A fitted linear classifier, ready to be stored.

    Attributes
    ----------
    mean, scale : ndarray of float64, shape (width,)
        Standardisation of the embedding, from the training images.
    weight : ndarray of float64, shape (classes, width)
    bias : ndarray of float64, shape (classes,)
        -inf for a class that had no training image.
    strength : float
        The chosen inverse penalty.
    val_accuracy : float
        In [0, 1]; NaN where there was no validation image.
    """

    mean: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    strength: float
    val_accuracy: float

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Class probabilities, float64, shape (n, classes), of embeddings of shape (n, width)."""
        logits = (features - self.mean) / self.scale @ self.weight.T + self.bias
        logits -= logits.max(axis=1, keepdims=True)
        exp = np.exp(logits)
        return exp / exp.sum(axis=1, keepdims=True)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Most probable class, int64, shape (n,)."""
        return self.probabilities(features).argmax(axis=1)


def fit_linear_probe(
    train_x: np.ndarray, train_y: np.ndarray, val_x: np.ndarray, val_y: np.ndarray, *, num_classes: int
) -> LinearProbe:
    """Fit on the training embeddings; the strength of the penalty is the best on validation.

    Of equally good strengths the most regularised is taken. Without validation images the strength
    is 1, scikit-learn's default.

    Parameters
    ----------
    train_x, val_x : ndarray, shape (n, width)
    train_y, val_y : ndarray of int64, shape (n,)
        Classes in [0, num_classes).
    """
    mean, scale = train_x.mean(axis=0, dtype=np.float64), train_x.std(axis=0, dtype=np.float64)
    scale[scale < 1e-12] = 1.0  # a dimension that never varies, such as a dead ReLU
    x = (train_x - mean) / scale
    present = np.unique(train_y)
    best: LinearProbe | None = None
    for strength, (coef, intercept) in zip(_strengths(val_y), _path(x, train_y, _strengths(val_y)), strict=True):
        weight = np.zeros((num_classes, x.shape[1]))
        bias = np.full(num_classes, -np.inf)
        weight[present], bias[present] = coef, intercept
        probe = LinearProbe(mean, scale, weight, bias, strength, float("nan"))
        accuracy = float((probe.predict(val_x) == val_y).mean()) if len(val_y) else float("nan")
        if best is None or accuracy > best.val_accuracy:
            best = LinearProbe(mean, scale, weight, bias, strength, accuracy)
    assert best is not None
    return best


def _strengths(val_y: np.ndarray) -> tuple[float, ...]:
    return STRENGTHS if len(val_y) else (1.0,)


def _path(x: np.ndarray, y: np.ndarray, strengths: tuple[float, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Solutions from the strongest penalty to the weakest, each started from the one before."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    classes = np.unique(y)
    if len(classes) == 1:
        return [(np.zeros((1, x.shape[1])), np.zeros(1)) for _ in strengths]
    model = LogisticRegression(max_iter=500, tol=1e-4, warm_start=True)
    solutions = []
    for strength in strengths:
        model.C = strength
        with warnings.catch_warnings():
            # Nearly unpenalised problems are separable and have no finite optimum to reach.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x, y)
        solutions.append(_symmetric(model.coef_.copy(), model.intercept_.copy()))
    return solutions


def _symmetric(coef: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One row per class, also for two classes, where scikit-learn keeps a single row."""
    if len(coef) > 1:
        return coef, intercept
    return np.concatenate([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
