"""The linear-classification protocol: a linear classifier on frozen, standardised embeddings.

Images of one class each have classes, int64 of shape (n,), and multinomial logistic regression; images with several
labels a row of bool for each, which labels it has, and a logistic regression of each label against the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from selfsup.evaluation.label_regressions import solve_labels
from selfsup.evaluation.logistic import solve_path
from selfsup.evaluation.metrics import MEAN_AP, predictions
from selfsup.evaluation.sgd import descend

Solver = Literal["logistic", "sgd"]

#: Inverse Cs of the L2 penalty that validation chooses from (scikit-learn's C).
CS = tuple(10.0**k for k in range(-4, 3))
#: Learning rates that validation chooses from under "sgd", and the one without validation.
SGD_RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
DEFAULT_SGD_RATE = 0.01
#: Most logits that are float64, and are handled at once: 160 MB.
MOST_ENTRIES = 20_000_000


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
    C : float
        The chosen inverse penalty, or learning rate of the SGD probe; one for all labels.
    val_score : float
        What it was chosen by, in [0, 1]: accuracy on validation, or mAP of several labels; NaN where there was no
        validation image.
    several : bool
        Whether images may have several labels: probabilities are then those of each label by itself.
    """

    mean: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    C: float
    val_score: float
    several: bool = False

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Scores of the classes, shape (n, classes), of embeddings of shape (n, width).

        float64, or float32 where they are more than 20 million.
        """
        x, weight, bias = (features - self.mean) / self.scale, self.weight, self.bias
        if len(x) * len(bias) > MOST_ENTRIES:
            x, weight, bias = (part.astype(np.float32) for part in (x, weight, bias))
        found = x @ weight.T
        found += bias
        return found

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Class probabilities, shape (n, classes), of embeddings of shape (n, width), of the logits' type."""
        found = self.logits(features)
        for rows in parts(*found.shape):
            logits = torch.from_numpy(found[rows])
            found[rows] = logits.sigmoid() if self.several else logits.softmax(dim=1)
        return found

    def most_probable(self, features: np.ndarray, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Most probable class of each image, int64, and its probability, float64, the logits divided by a temperature.

        Of images with one class each; few logits are held at once.
        """
        classes, probability = np.empty(len(features), np.int64), np.empty(len(features))
        for rows in parts(len(features), len(self.bias)):
            found = torch.from_numpy(self.logits(features[rows]) / temperature).softmax(dim=1).numpy()
            classes[rows], probability[rows] = found.argmax(axis=1), found.max(axis=1)
        return classes, probability

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Most probable class, int64, shape (n,); which labels are more probable than not, bool, shape (n, classes)."""
        if self.several:
            return predictions(self.probabilities(features), several=True)
        return self.most_probable(features)[0]


def parts(images: int, classes: int) -> list[slice]:
    """The images in parts whose logits fit into memory."""
    count = max(1, MOST_ENTRIES // classes)
    return [slice(start, start + count) for start in range(0, images, count)]


def fit_linear_probe(
    train_x: np.ndarray,
    train_y: np.ndarray,
    val_x: np.ndarray,
    val_y: np.ndarray,
    *,
    num_classes: int,
    solver: Solver = "logistic",
    device: str = "cpu",
    seed: int = 0,
) -> LinearProbe:
    """Fit on the training embeddings; the C of the penalty is the best on validation, by accuracy or mAP.

    Of equally good Cs the most regularised is taken. Without validation images the C
    is 1, scikit-learn's default.

    Parameters
    ----------
    train_x, val_x : ndarray, shape (n, width)
    train_y, val_y : ndarray of int64, shape (n,), or bool, shape (n, num_classes)
        Classes in [0, num_classes), or which labels each image has.
    solver : {"logistic", "sgd"}
        "logistic": the optimum of penalised logistic regression. "sgd": 100 epochs of SGD without
        penalty, as in the papers; what validation chooses is the learning rate.
    device : str
        Where to compute.
    seed : int
        Draws the order of the images under "sgd".
    """
    mean, scale = standardisation(train_x)
    place = "cpu" if device == "mps" else device  # Apple's GPU has no float64
    x = torch.from_numpy((train_x - mean) / scale).to(place)
    several = train_y.ndim == 2
    present, y = _occurring(train_y)
    candidates = _candidates(solver, validated=len(val_y) > 0)
    targets = torch.from_numpy(y).to(place)
    solutions: Iterable[tuple[Tensor, Tensor]]
    if solver == "sgd":
        rates = torch.tensor(candidates, dtype=x.dtype, device=place)
        solutions = zip(*descend(x, targets, rates, num_classes=len(present), seed=seed), strict=True)
    elif several:
        solutions = zip(*solve_labels(x, targets, candidates), strict=True)
    else:
        solutions = solve_path(x, targets, candidates, num_classes=len(present))

    def probe_of(C: float, coef: Tensor, intercept: Tensor) -> LinearProbe:
        weight = np.zeros((num_classes, x.shape[1]))
        bias = np.full(num_classes, -np.inf)
        weight[present], bias[present] = coef.cpu().numpy(), intercept.cpu().numpy()
        probe = LinearProbe(mean, scale, weight, bias, C, float("nan"), several)
        if not len(val_y):
            return probe
        score = MEAN_AP.value(val_y, probe.probabilities(val_x)) if several else (probe.predict(val_x) == val_y).mean()
        return replace(probe, val_score=float(score))

    # One after another, for each may need much memory.
    probes = (probe_of(C, *solution) for C, solution in zip(candidates, solutions, strict=True))
    return max(probes, key=lambda probe: probe.val_score)


def _occurring(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes or labels that occur, and `y` in terms of them."""
    if y.ndim == 2:
        present = np.flatnonzero(y.any(axis=0))
        return present, y[:, present]
    present, places = np.unique(y, return_inverse=True)
    return present, places


def standardisation(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of every dimension, float64, shape (width,); scale 1 where a dimension never varies."""
    mean, scale = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    scale[scale < 1e-12] = 1.0  # such as a dead ReLU
    return mean, scale


def _candidates(solver: Solver, *, validated: bool) -> tuple[float, ...]:
    """What validation chooses from, in order of preference among equals."""
    if solver == "sgd":
        return SGD_RATES if validated else (DEFAULT_SGD_RATE,)
    return CS if validated else (1.0,)
