"""Multinomial logistic regression: penalised, solved to convergence on any device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from selfsup.evaluation.lbfgs import MOST_STEPS, minimise

#: Classes times images from which a problem is large, and most steps of such a one.
LARGE, MOST_STEPS_OF_LARGE = 1_000_000, 10
#: Most entries of the logits that are handled at once: ten times as many take half as long again.
MOST_ENTRIES = 5_000_000
#: The smallest damping, as a share of the curvature at zero.
DAMPING = 0.2
#: Images, of each class those it is least sure of, whose curvature is the class's own; that of others is a mean over
#: the classes.
OWN_IMAGES = 16
#: What products of float32 may lose, as a share of a Hessian's largest entry.
ROUNDING = 1e-6


def solve(x: Tensor, y: Tensor, C: float, *, num_classes: int) -> tuple[Tensor, Tensor]:
    """Minimise, for each problem, the sum of cross entropies plus |W|^2 / (2 C), the biases free.

    This is scikit-learn's ``LogisticRegression``, also for two classes, where it penalises the one
    vector w = W_1 - W_0 by |w|^2 / (2 C). All problems step together; large ones are left as in :func:`solve_path`.

    Parameters
    ----------
    x : Tensor of float64, shape (b, n, width)
    y : Tensor of int64, shape (b, n)
        Classes in [0, num_classes), all of which should occur.
    C : float
        Inverse penalty C, greater than 0.
    num_classes : int

    Returns
    -------
    weight : Tensor of float64, shape (b, num_classes, width)
    bias : Tensor of float64, shape (b, num_classes)
    """
    return next(_Problems.of(x, y, num_classes).solutions([C]))


def solve_path(x: Tensor, y: Tensor, Cs: Sequence[float], *, num_classes: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The problem of :func:`solve` on the same images under several penalties, one after another.

    Each begins where the one before ended, and knows the curvature there. Where classes times images are a million or
    more, each is left after 10 steps, converged or not, and the first is preceded by a penalty ten times as strong. So
    the time grows with classes times images, however slowly weak penalties converge.

    Parameters
    ----------
    x : Tensor of float64, shape (n, width)
    y : Tensor of int64, shape (n,)
    Cs : sequence of float
        From the strongest penalty, the smallest C, to the weakest.
    num_classes : int

    Yields
    ------
    weight : Tensor of float64, shape (num_classes, width)
    bias : Tensor of float64, shape (num_classes,)
    """
    for weight, bias in _Problems.of(x[None], y[None], num_classes).solutions(Cs):
        yield weight[0], bias[0]


@dataclass(frozen=True)
class _Problems:
    """Problems of equal shape, in coordinates of which there are no more than images.

    Attributes
    ----------
    basis : Tensor, shape (b, width, rank), or None
        Orthonormal axes of the coordinates; None where these are the dimensions themselves.
    rows : Tensor of float32, shape (b, n, rank + 1)
        The images' coordinates, and a one for the bias. Parameters, objectives and gradients are float64, all that is
        made of images float32, which takes half the time, and whose rounding is far below the tolerance.
    y : Tensor of int64, shape (b, 1, n)
        The images' classes, in [0, classes).
    penalty : Tensor of float64, shape (rank + 1,)
        What half the square of each parameter of a class costs.
    """

    basis: Tensor | None
    rows: Tensor
    y: Tensor
    classes: int
    penalty: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor, num_classes: int) -> _Problems:
        # A penalised solution lies in the span of the images.
        basis = torch.linalg.qr(x.mT).Q if x.shape[-2] < x.shape[-1] else None
        coordinates = x if basis is None else x @ basis
        rows = torch.cat([coordinates, x.new_ones(*x.shape[:-1], 1)], dim=-1)
        penalty = rows.new_zeros(rows.shape[-1:])
        return cls(basis, rows.float(), y[:, None], num_classes, penalty)

    def under(self, C: float) -> _Problems:
        """The same under another penalty."""
        # Two classes: |W|^2 = |w|^2 / 2 where W_1 = -W_0 = w / 2.
        penalty = torch.full_like(self.penalty, (2.0 if self.classes == 2 else 1.0) / C)
        penalty[-1] = 0
        return replace(self, penalty=penalty)

    def solutions(self, Cs: Sequence[float]) -> Iterator[tuple[Tensor, Tensor]]:
        """Weights and biases under one penalty after another."""
        shape = (len(self.rows), self.classes, self.rows.shape[2])
        theta, steps = torch.zeros(shape, dtype=torch.float64, device=self.rows.device), MOST_STEPS
        if self.classes * self.rows.shape[1] >= LARGE:
            steps = MOST_STEPS_OF_LARGE
            theta = minimise(self.under(Cs[0] / 10), theta, steps)
        for C in Cs:
            theta = minimise(self.under(C), theta, steps)
            weight = theta[..., :-1]
            yield (weight if self.basis is None else weight @ self.basis.mT).contiguous(), theta[..., -1]

    def only(self, problems: Tensor) -> _Problems:
        """Some of them, from a mask of shape (b,)."""
        return replace(self, rows=self.rows[problems], y=self.y[problems])

    def objective(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """The mean objective of each problem, shape (b,), and its gradient."""
        likelihood, slope = torch.zeros((), dtype=torch.float64, device=theta.device), torch.zeros_like(theta)
        single = theta.float()
        for some, classes in zip(*self._at_once(), strict=True):
            log_p = torch.log_softmax(single @ some.mT, dim=1)
            likelihood = likelihood + log_p.gather(1, classes).double().sum(dim=(1, 2))
            residual = log_p.exp_().scatter_add_(1, classes, torch.full_like(log_p[:, :1], -1))
            slope += (residual @ some).double()
        shrunk, n = self.penalty * theta, self.rows.shape[1]
        return ((shrunk * theta).sum(dim=(1, 2)) / 2 - likelihood) / n, (slope + shrunk) / n

    def _at_once(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The images in parts whose logits fit into memory."""
        images = max(1, MOST_ENTRIES // (len(self.rows) * self.classes))
        return self.rows.split(images, dim=1), self.y.split(images, dim=2)

    def _curvature(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The largest entries for each class and their images, shape (b, classes, k), and the mean over the classes."""
        found, begin = [], 0
        for rows in self._at_once()[0]:
            p = torch.softmax(theta.float() @ rows.mT, dim=1)
            curvature = p * (1 - p)
            own, images = curvature.topk(min(OWN_IMAGES, curvature.shape[2]), dim=2)
            found.append((own, images + begin, curvature.mean(dim=1)))
            begin += rows.shape[1]
        own, images, shared = (torch.cat(parts, dim=-1) for parts in zip(*found, strict=True))
        if len(found) > 1:
            own, places = own.topk(min(OWN_IMAGES, own.shape[2]), dim=2)
            images = images.gather(2, places)
        return own, images, shared

    @property
    def least_damping(self) -> float:
        """A share of what an image adds to the curvature of each dimension where nothing is learnt, of every class."""
        return DAMPING * float(self.rows[..., :-1].square().mean()) * self.rows.shape[1] / self.classes

    def inverse_hessian(self, theta: Tensor, damping: Tensor) -> _InverseHessian:
        own, images, shared = self._curvature(theta)
        shared = shared.clamp(min=1e-9)
        hessian = (self.rows.mT @ (shared[..., None] * self.rows)).double()
        # Rounding may have taken from a direction all that it had.
        floor = ROUNDING * hessian.diagonal(dim1=1, dim2=2).amax(dim=1)[:, None] + self.penalty + damping[:, None]
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian + torch.diag_embed(floor))).float()
        beyond = (own - shared[:, None].expand(-1, self.classes, -1).gather(2, images)).clamp(min=0)
        problems = torch.arange(len(theta), device=theta.device)[:, None, None]
        rows = beyond.sqrt()[..., None] * self.rows[problems, images]
        inner = torch.eye(own.shape[2], device=theta.device) + (rows.flatten(1, 2) @ inverse).view_as(rows) @ rows.mT
        # None of its eigenvalues is below 1, though rounding may say so where images are alike.
        values, vectors = torch.linalg.eigh(inner)
        n = self.rows.shape[1]
        return _InverseHessian(inverse * n, rows, (vectors / values.clamp(min=1)[..., None, :]) @ vectors.mT / n)


@dataclass(frozen=True)
class _InverseHessian:
    """A guess at the inverse Hessian of every class of every problem; its product with vectors of float32.

    A class's Hessian is a sum over the images. Most count alike for all classes: the mean over the classes is inverted
    once. What the images that a class is least sure of have beyond it joins by Woodbury's identity. With many classes
    of few images, of which the mean says nothing, this takes a tenth of the steps, or less.

    Attributes
    ----------
    shared : Tensor, shape (b, rank + 1, rank + 1)
    own : Tensor, shape (b, classes, k, rank + 1)
    inner : Tensor, shape (b, classes, k, k)
    """

    shared: Tensor
    own: Tensor
    inner: Tensor

    def only(self, problems: Tensor) -> _InverseHessian:
        return _InverseHessian(self.shared[problems], self.own[problems], self.inner[problems])

    def __call__(self, vector: Tensor) -> Tensor:
        """Its product with a vector for each class, shape (b, classes, rank + 1)."""
        weights = self.inner @ (self.own @ (vector @ self.shared)[..., None])
        product = (vector - (self.own.mT @ weights)[..., 0]) @ self.shared
        return product - product.mean(dim=1, keepdim=True)  # what is added to every class changes no probability
