"""Logistic regression of each label against the rest, for images that may have several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from selfsup.evaluation.lbfgs import minimise
from selfsup.evaluation.logistic import DAMPING, MOST_ENTRIES


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
            theta = minimise(_Labels(rows, has, moments, C), theta)
            solved[C] = theta
        parts.append(torch.stack([solved[C][:, 0] for C in Cs]))
    found = torch.cat(parts, dim=1)
    return found[..., :-1] @ axes.Vh, found[..., -1]


@dataclass(frozen=True)
class _Labels:
    """The problem of each label.

    Attributes
    ----------
    rows : Tensor of float32, shape (n, rank + 1)
        The images in their principal axes, and a one for the bias.
    has : Tensor of float32, shape (labels, n)
    moments : Tensor of float64, shape (rank + 1,)
        Means of the squares of `rows`.
    C : float
    """

    rows: Tensor
    has: Tensor
    moments: Tensor
    C: float

    @property
    def least_damping(self) -> float:
        return DAMPING * float(self.moments[:-1].mean()) * len(self.rows) / 4

    @property
    def penalty(self) -> Tensor:
        """What half the square of each parameter costs, shape (rank + 1,)."""
        penalty = torch.full_like(self.moments, 1 / self.C)
        penalty[-1] = 0
        return penalty

    def only(self, problems: Tensor) -> _Labels:
        return replace(self, has=self.has[problems])

    def objective(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        logits, n = theta[:, 0].float() @ self.rows.mT, len(self.rows)
        likelihood = logsigmoid((2 * self.has - 1) * logits).double().sum(dim=1)
        slope = ((torch.sigmoid(logits) - self.has) @ self.rows).double()[:, None]
        shrunk = self.penalty * theta
        return ((shrunk * theta).sum(dim=(1, 2)) / 2 - likelihood) / n, (slope + shrunk) / n

    def inverse_hessian(self, theta: Tensor, damping: Tensor) -> _InverseDiagonal:
        p = torch.sigmoid(theta[:, 0].float() @ self.rows.mT)
        curvature = (p * (1 - p)).mean(dim=1, dtype=torch.float64).clamp(min=1e-9)
        diagonal = curvature[:, None] * self.moments + (self.penalty + damping[:, None]) / len(self.rows)
        return _InverseDiagonal((1 / diagonal).float()[:, None])


@dataclass(frozen=True)
class _InverseDiagonal:
    """A guess at the inverse Hessian of every label: as if all images counted alike.

    Attributes
    ----------
    values : Tensor of float32, shape (labels, 1, rank + 1)
    """

    values: Tensor

    def only(self, problems: Tensor) -> _InverseDiagonal:
        return _InverseDiagonal(self.values[problems])

    def __call__(self, vector: Tensor) -> Tensor:
        return self.values * vector
