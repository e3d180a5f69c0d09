"""Multinomial logistic regression: penalised, solved to convergence on any device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

#: Largest entry of the gradient of the mean objective at which a problem counts as solved.
TOLERANCE = 1e-6
#: The same for a first approach.
NEARLY = 1e-4
#: Most iterations; problems that are nearly unpenalised and separable may come close only.
MOST_STEPS = 500
#: Classes times images from which a problem is large, and the most iterations of one, which is left a little before its
#: optimum at the weakest penalties.
LARGE, MOST_STEPS_OF_LARGE = 1_000_000, 150
#: Most entries of the logits that are handled at once.
MOST_ENTRIES = 50_000_000
#: Pairs of steps and gradient changes from which L-BFGS knows the curvature.
MEMORY = 10
#: Images, of each class those it is least sure of, whose curvature is the class's own; that of others is a mean over
#: the classes.
OWN_IMAGES = 8
#: What products of float32 may lose, as a share of a value or of a Hessian's largest entry.
ROUNDING = 1e-6

#: From parameters of some problems, and the numbers of these problems, to the value of each one's
#: objective, shape (b,), and its gradient.
Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def solve(x: Tensor, y: Tensor, C: float, *, num_classes: int) -> tuple[Tensor, Tensor]:
    """Minimise, for each problem, the sum of cross entropies plus |W|^2 / (2 C), the biases free.

    This is scikit-learn's ``LogisticRegression``, also for two classes, where it penalises the one
    vector w = W_1 - W_0 by |w|^2 / (2 C). All problems step together.

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
    problems = _Problems.of(x, y, num_classes)
    # The curvature at zero says little of that at the end: there, it is computed anew.
    nearly = problems.optimum(problems.zeros(), C, NEARLY)
    return problems.weight_and_bias(problems.optimum(nearly, C))


def solve_path(x: Tensor, y: Tensor, Cs: Sequence[float], *, num_classes: int) -> tuple[Tensor, Tensor]:
    """The problem of :func:`solve` on the same images under several penalties.

    From the strongest penalty to the weakest each begins where the one before ended, and knows the curvature there.

    Parameters
    ----------
    x : Tensor of float64, shape (n, width)
    y : Tensor of int64, shape (n,)
    Cs : sequence of float
        In any order.
    num_classes : int

    Returns
    -------
    weight : Tensor of float64, shape (len(Cs), num_classes, width)
    bias : Tensor of float64, shape (len(Cs), num_classes)
    """
    problem = _Problems.of(x[None], y[None], num_classes)
    theta, solved = problem.zeros(), {}
    for C in sorted(set(Cs)):
        theta = problem.optimum(theta, C)
        solved[C] = problem.weight_and_bias(theta)
    weights, biases = zip(*(solved[C] for C in Cs), strict=True)
    return torch.cat(weights), torch.cat(biases)


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
    """

    basis: Tensor | None
    rows: Tensor
    y: Tensor
    classes: int

    @classmethod
    def of(cls, x: Tensor, y: Tensor, num_classes: int) -> _Problems:
        # A penalised solution lies in the span of the images.
        basis = torch.linalg.qr(x.mT).Q if x.shape[-2] < x.shape[-1] else None
        coordinates = x if basis is None else x @ basis
        rows = torch.cat([coordinates, x.new_ones(*x.shape[:-1], 1)], dim=-1)
        return cls(basis, rows.float(), y[:, None], num_classes)

    def zeros(self) -> Tensor:
        """Parameters of every problem, shape (b, classes, rank + 1)."""
        shape = (len(self.rows), self.classes, self.rows.shape[2])
        return torch.zeros(shape, dtype=torch.float64, device=self.rows.device)

    def weight_and_bias(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        weight = theta[..., :-1]
        return (weight if self.basis is None else weight @ self.basis.mT).contiguous(), theta[..., -1]

    def optimum(self, start: Tensor, C: float, tolerance: float = TOLERANCE) -> Tensor:
        """The parameters, shape (b, classes, rank + 1), at which every problem is solved."""
        n = self.rows.shape[1]
        # Two classes: |W|^2 = |w|^2 / 2 where W_1 = -W_0 = w / 2.
        penalty = start.new_full(self.rows.shape[-1:], (2.0 if self.classes == 2 else 1.0) / C)
        penalty[-1] = 0

        def objective(theta: Tensor, problems: Tensor) -> tuple[Tensor, Tensor]:
            every = len(problems) == len(self.rows)
            rows, y = (self.rows, self.y) if every else (self.rows[problems], self.y[problems])
            likelihood, slope = torch.zeros((), dtype=torch.float64, device=theta.device), torch.zeros_like(theta)
            for some, classes in zip(*self._at_once(rows, y), strict=True):
                log_p = torch.log_softmax(theta.float() @ some.mT, dim=1)
                likelihood = likelihood + log_p.gather(1, classes).double().sum(dim=(1, 2))
                residual = log_p.exp_().scatter_add_(1, classes, torch.full_like(log_p[:, :1], -1))
                slope += (residual @ some).double()
            shrunk = penalty * theta
            return ((shrunk * theta).sum(dim=(1, 2)) / 2 - likelihood) / n, (slope + shrunk) / n

        large = self.classes * n >= LARGE
        return minimise(objective, start, self._inverse_hessian(start, penalty), tolerance, large=large)

    def _at_once(self, rows: Tensor, y: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The images in parts whose logits fit into memory."""
        images = max(1, MOST_ENTRIES // (len(rows) * self.classes))
        return rows.split(images, dim=1), y.split(images, dim=2)

    def _curvature(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The largest entries for each class and their images, shape (b, classes, k), and the mean over the classes."""
        found, begin = [], 0
        for rows in self._at_once(self.rows, self.y)[0]:
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

    def _inverse_hessian(self, theta: Tensor, penalty: Tensor) -> _InverseHessian:
        """What guesses at the steps from `theta`, for a penalty of shape (rank + 1,)."""
        own, images, shared = self._curvature(theta)
        shared = shared.clamp(min=1e-9)
        hessian = (self.rows.mT @ (shared[..., None] * self.rows)).double()
        # Rounding may have taken from a direction all that it had.
        floor = ROUNDING * hessian.diagonal(dim1=1, dim2=2).amax(dim=1)[:, None] + penalty
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian + torch.diag_embed(floor))).float()
        beyond = (own - shared[:, None].expand(-1, self.classes, -1).gather(2, images)).clamp(min=0)
        problems = torch.arange(len(theta), device=theta.device)[:, None, None]
        rows = beyond.sqrt()[..., None] * self.rows[problems, images]
        inner = torch.eye(own.shape[2], device=theta.device) + (rows.flatten(1, 2) @ inverse).view_as(rows) @ rows.mT
        # None of its eigenvalues is below 1, though rounding may say so where images are alike.
        values, vectors = torch.linalg.eigh(inner)
        n = self.rows.shape[1]
        return _InverseHessian(inverse * n, rows, (vectors / values.clamp(min=1)[..., None, :]) @ vectors.mT / n)


class InverseHessian(Protocol):
    """A guess at the inverse Hessian of some problems."""

    def of(self, problems: Tensor) -> Self:
        """That of those problems alone, of bool."""

    def __call__(self, vector: Tensor) -> Tensor:
        """Its product with a vector of float32 for each row."""


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

    def of(self, problems: Tensor) -> _InverseHessian:
        return _InverseHessian(self.shared[problems], self.own[problems], self.inner[problems])

    def __call__(self, vector: Tensor) -> Tensor:
        """Its product with a vector for each class, shape (b, classes, rank + 1)."""
        weights = self.inner @ (self.own @ (vector @ self.shared)[..., None])
        return (vector - (self.own.mT @ weights)[..., 0]) @ self.shared


def minimise(
    objective: Objective, start: Tensor, inverse_hessian: InverseHessian, tolerance: float, *, large: bool = False
) -> Tensor:
    """L-BFGS (Nocedal & Wright 2006, algorithm 7.5) on several convex problems side by side.

    Parameters
    ----------
    objective : callable
    start : Tensor, shape (b, rows, columns)
    inverse_hessian : InverseHessian
        First guess at the inverse Hessian of every row.
    tolerance : float
        Largest entry of a gradient at which its problem counts as solved.
    large : bool
        Whether steps are costly: fewer are made, and the guess is scaled to the last change of the gradient (equation
        7.20), without which the line search halves most of them.

    Returns
    -------
    Tensor, shape (b, rows, columns)
    """
    solution = start.clone()
    problems = torch.arange(len(start), device=start.device)
    theta = start
    value, gradient = objective(theta, problems)
    history: list[tuple[Tensor, Tensor]] = []
    for _ in range(MOST_STEPS_OF_LARGE if large else MOST_STEPS):
        running = gradient.abs().amax(dim=(1, 2)) > tolerance
        if not bool(running.all()):
            solution[problems] = theta
            problems, theta, value, gradient = problems[running], theta[running], value[running], gradient[running]
            inverse_hessian = inverse_hessian.of(running)
            history = [(step[running], change[running]) for step, change in history]
        if not len(problems):
            break
        direction = -_inverse_hessian_times(gradient.float(), history, inverse_hessian, scaled=large)
        moved, new_value, new_gradient = _line_search(objective, problems, theta, value, gradient, direction)
        history = [*history[1 - MEMORY :], ((moved - theta).float(), (new_gradient - gradient).float())]
        theta, value, gradient = moved, new_value, new_gradient
    solution[problems] = theta
    return solution


def _inverse_hessian_times(
    vector: Tensor, history: list[tuple[Tensor, Tensor]], first_guess: InverseHessian, *, scaled: bool
) -> Tensor:
    """The two-loop recursion (Nocedal & Wright 2006, algorithm 7.4)."""
    # A step lost in rounding has no curvature to tell; its pair counts for nothing.
    inverse = [_reciprocal(_dot(step, change)) for step, change in history]
    weights = []
    for (step, change), rho in zip(reversed(history), reversed(inverse), strict=True):
        weights.append(rho * _dot(step, vector))
        vector = vector - weights[-1] * change
    result = first_guess(vector)
    if scaled and history:
        step, change = history[-1]
        result = result * (_dot(step, change) * _reciprocal(_dot(change, first_guess(change)))).clamp(1e-4, 1)
    for (step, change), rho, weight in zip(history, inverse, reversed(weights), strict=True):
        result = result + (weight - rho * _dot(change, result)) * step
    return result


def _line_search(
    objective: Objective, problems: Tensor, theta: Tensor, value: Tensor, gradient: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Halve each problem's step until it lowers its objective enough (Armijo's rule)."""
    slope = _dot(gradient, direction)[:, 0, 0]
    length = torch.ones_like(value)
    # Near the optimum the decrease drowns in the rounding of the value itself.
    slack = ROUNDING * (1 + value.abs())
    for _ in range(30):
        moved = theta + length[:, None, None] * direction
        new_value, new_gradient = objective(moved, problems)
        enough = new_value <= value + 1e-4 * length * slope + slack
        if bool(enough.all()):
            break
        length = torch.where(enough, length, length / 2)
    return moved, new_value, new_gradient


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(1, 2), keepdim=True)


def _reciprocal(x: Tensor) -> Tensor:
    """1 / x, and 0 where x is not greater than 0."""
    return torch.where(x > 0, 1 / x, 0.0)
