"""Multinomial logistic regression: many problems at once, solved to convergence on any device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: Largest entry of the gradient of the mean objective at which a problem counts as solved.
TOLERANCE = 1e-6
#: Most iterations; problems that are nearly unpenalised and separable may come close only.
MOST_STEPS = 300
#: Pairs of steps and gradient changes from which L-BFGS knows the curvature.
MEMORY = 10
#: Most entries of a tensor of logits; more problems than fit are solved one group after another.
MOST_LOGITS = 20_000_000

#: From parameters of some problems, and the numbers of these problems, to the value of each one's
#: objective, shape (b,), and its gradient.
Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def solve(x: Tensor, y: Tensor, strengths: Tensor, *, num_classes: int) -> tuple[Tensor, Tensor]:
    """Minimise, for each problem, the sum of cross entropies plus |W|^2 / (2 C), the biases free.

    This is scikit-learn's ``LogisticRegression``, also for two classes, where it penalises the one
    vector w = W_1 - W_0 by |w|^2 / (2 C). All problems step together, in one matrix product.

    Parameters
    ----------
    x : Tensor of float64, shape (n, width) or (b, n, width)
        Shared by all problems, or one for each.
    y : Tensor of int64, shape (n,) or (b, n)
        Classes in [0, num_classes), all of which should occur.
    strengths : Tensor of float64, shape (b,)
        Inverse penalty C of each problem, greater than 0.
    num_classes : int

    Returns
    -------
    weight : Tensor of float64, shape (b, num_classes, width)
    bias : Tensor of float64, shape (b, num_classes)
    """
    group = max(1, MOST_LOGITS // (x.shape[-2] * num_classes))
    solved = [
        _solve_together(_part(x, 3, part), _part(y, 2, part), strengths[part], num_classes)
        for part in torch.arange(len(strengths), device=strengths.device).split(group)
    ]
    weights, biases = zip(*solved, strict=True)
    return torch.cat(weights), torch.cat(biases)


def _part(tensor: Tensor, dims: int, part: Tensor) -> Tensor:
    """The rows `part` of a tensor that has one row per problem; the whole of one that all share."""
    return tensor[part] if tensor.ndim == dims else tensor


def _solve_together(x: Tensor, y: Tensor, strengths: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    basis, curvature = _principal_axes(x)
    n = x.shape[-2]
    coordinates = torch.cat([x @ basis, x.new_ones(*x.shape[:-1], 1)], dim=-1)
    # Two classes: |W|^2 = |w|^2 / 2 where W_1 = -W_0 = w / 2.
    penalty = (2.0 if num_classes == 2 else 1.0) / strengths.clamp(min=1e-12)[:, None, None]
    penalised = torch.ones(coordinates.shape[-1], 1, dtype=x.dtype, device=x.device)
    penalised[-1] = 0
    onehot = torch.nn.functional.one_hot(y, num_classes).to(x.dtype)

    def objective(theta: Tensor, problems: Tensor) -> tuple[Tensor, Tensor]:
        rows, true, strong = _part(coordinates, 3, problems), _part(onehot, 3, problems), penalty[problems]
        log_p = torch.log_softmax(_product(rows, theta), dim=-1)
        shrunk = strong * penalised * theta
        value = -(true * log_p).sum(dim=(-2, -1)) + (shrunk * theta).sum(dim=(-2, -1)) / 2
        gradient = _product(rows.mT, log_p.exp() - true) + shrunk
        return value / n, gradient / n

    # The Hessian at zero, which is diagonal on the principal axes but for its share between classes.
    scale = torch.cat([curvature, curvature.new_full((*curvature.shape[:-1], 1), n)], dim=-1)[..., None]
    hessian = (scale / num_classes + penalty * penalised) / n  # (b, rank + 1, 1)
    start = x.new_zeros(len(strengths), coordinates.shape[-1], num_classes)
    theta = minimise(objective, start, 1 / hessian)
    return (basis @ theta[:, :-1]).mT.contiguous(), theta[:, -1]


def _principal_axes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal axes of the rows of `x`, and the sum of squares along each.

    A penalised solution lies in the span of the rows, so min(n, width) axes hold all of it.

    Returns
    -------
    basis : Tensor, shape (..., width, rank)
    curvature : Tensor, shape (..., rank)
    """
    if x.shape[-2] >= x.shape[-1]:
        squares, axes = torch.linalg.eigh(x.mT @ x)
        return axes, squares.clamp(min=0)
    span = torch.linalg.qr(x.mT).Q
    squares, axes = torch.linalg.eigh((x @ span).mT @ (x @ span))
    return span @ axes, squares.clamp(min=0)


def _product(shared: Tensor, per_problem: Tensor) -> Tensor:
    """Matrix products with every problem's own matrix; of a shared matrix as one wide product."""
    if shared.ndim == 3:
        return shared @ per_problem
    problems, rows, columns = per_problem.shape
    wide = per_problem.transpose(0, 1).reshape(rows, problems * columns)
    return (shared @ wide).view(len(shared), problems, columns).transpose(0, 1)


def minimise(objective: Objective, start: Tensor, inverse_hessian: Tensor) -> Tensor:
    """L-BFGS (Nocedal & Wright 2006, algorithm 7.5) on several convex problems side by side.

    Parameters
    ----------
    objective : callable
    start : Tensor, shape (b, rows, columns)
    inverse_hessian : Tensor, shape (b, rows, 1)
        First guess at the inverse Hessian's diagonal.

    Returns
    -------
    Tensor, shape (b, rows, columns)
    """
    solution = start.clone()
    problems = torch.arange(len(start), device=start.device)
    theta = start
    value, gradient = objective(theta, problems)
    history: list[tuple[Tensor, Tensor]] = []
    for _ in range(MOST_STEPS):
        running = gradient.abs().amax(dim=(1, 2)) > TOLERANCE
        if not bool(running.all()):
            solution[problems] = theta
            problems, theta, value, gradient = problems[running], theta[running], value[running], gradient[running]
            inverse_hessian = inverse_hessian[running]
            history = [(step[running], change[running]) for step, change in history]
        if not len(problems):
            break
        direction = -_inverse_hessian_times(gradient, history, inverse_hessian)
        moved, new_value, new_gradient = _line_search(objective, problems, theta, value, gradient, direction)
        history = [*history[1 - MEMORY :], (moved - theta, new_gradient - gradient)]
        theta, value, gradient = moved, new_value, new_gradient
    solution[problems] = theta
    return solution


def _inverse_hessian_times(vector: Tensor, history: list[tuple[Tensor, Tensor]], first_guess: Tensor) -> Tensor:
    """The two-loop recursion (Nocedal & Wright 2006, algorithm 7.4), scaled by their equation 7.20."""
    # A step lost in rounding has no curvature to tell; its pair counts for nothing.
    inverse = [_reciprocal(_dot(step, change)) for step, change in history]
    weights = []
    for (step, change), rho in zip(reversed(history), reversed(inverse), strict=True):
        weights.append(rho * _dot(step, vector))
        vector = vector - weights[-1] * change
    result = first_guess * vector
    if history:
        step, change = history[-1]
        gain = _dot(step, change) * _reciprocal(_dot(change, first_guess * change))
        result = torch.where(gain > 0, gain, 1.0) * result
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
    slack = 1e-13 * (1 + value.abs())
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
