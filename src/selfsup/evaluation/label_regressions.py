"""Logistic regression of each label against the rest, for images that may have several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from selfsup.evaluation.logistic import MOST_ENTRIES, TOLERANCE, minimise


def solve_labels(x: Tensor, y: Tensor, Cs: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Minimise, for each label and penalty, the sum of binary cross entropies plus |w|^2 / (2 C), the biases free.

    This is scikit-learn's ``LogisticRegression`` of two classes. From the strongest penalty to the weakest each begins
    where the one before ended; the labels step together, each until it is solved.

    Parameters
    ----------
    x : Tensor of float64, shape (n, width)
        Each dimension of mean 0.
    y : Tensor of bool, shape (n, labels)
        Which labels each image has.
    Cs : sequence of float
        In any order.

    Returns
    -------
    weight : Tensor of float64, shape (len(Cs), labels, width)
    bias : Tensor of float64, shape (len(Cs), labels)
    """
    # In the principal axes the images' second moments are a diagonal, and the bias stands apart.
    axes = torch.linalg.svd(x, full_matrices=False)
    rows = torch.cat([x @ axes.Vh.mT, x.new_ones(len(x), 1)], dim=1).float()
    moments = torch.cat([axes.S**2 / len(x), axes.S.new_ones(1)])
    parts = []
    for has in y.mT.float().split(max(1, MOST_ENTRIES // len(x))):
        theta, solved = torch.zeros(len(has), 1, rows.shape[1], dtype=torch.float64, device=x.device), {}
        for C in sorted(set(Cs)):
            theta = _optimum(rows, has, moments, theta, C)
            solved[C] = theta
        parts.append(torch.stack([solved[C][:, 0] for C in Cs]))
    found = torch.cat(parts, dim=1)
    return found[..., :-1] @ axes.Vh, found[..., -1]


def _optimum(rows: Tensor, has: Tensor, moments: Tensor, start: Tensor, C: float) -> Tensor:
    """The parameters of each label, shape (labels, 1, rank + 1), from those to `start` from."""
    n = len(rows)
    penalty = torch.full_like(moments, 1 / C)
    penalty[-1] = 0

    def objective(theta: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        wanted = has if len(labels) == len(has) else has[labels]
        logits = theta[:, 0].float() @ rows.mT
        likelihood = logsigmoid((2 * wanted - 1) * logits).double().sum(dim=1)
        slope = ((torch.sigmoid(logits) - wanted) @ rows).double()[:, None]
        shrunk = penalty * theta
        return ((shrunk * theta).sum(dim=(1, 2)) / 2 - likelihood) / n, (slope + shrunk) / n

    p = torch.sigmoid(start[:, 0].float() @ rows.mT)
    curvature = (p * (1 - p)).mean(dim=1, dtype=torch.float64).clamp(min=1e-9)
    diagonal = curvature[:, None] * moments + penalty / n
    return minimise(objective, start, _InverseDiagonal((1 / diagonal).float()[:, None]), TOLERANCE)


@dataclass(frozen=True)
class _InverseDiagonal:
    """A guess at the inverse Hessian of every label: as if all images counted alike.

    Attributes
    ----------
    values : Tensor of float32, shape (labels, 1, rank + 1)
    """

    values: Tensor

    def of(self, problems: Tensor) -> _InverseDiagonal:
        return _InverseDiagonal(self.values[problems])

    def __call__(self, vector: Tensor) -> Tensor:
        return self.values * vector
