"""L-BFGS on several convex problems side by side, each row of whose parameters has a curvature that can be guessed."""

from __future__ import annotations

from typing import Protocol, Self

import torch
from torch import Tensor

#: Largest entry of the gradient of the mean objective at which a problem counts as solved.
TOLERANCE = 1e-6
#: Most iterations; problems that are nearly unpenalised and separable may come close only.
MOST_STEPS = 500
#: Pairs of steps and gradient changes from which L-BFGS knows the curvature.
MEMORY = 10
#: Most steps for which the guess at the curvature holds.
FRESH = 10
#: Share of its slope that a line may keep where a step ends, and the length of a step that is short.
FLAT, SHORT = 0.5, 0.3
#: By how much the damping rises and falls.
FACTOR = 6.0


class InverseHessian(Protocol):
    """A guess at the inverse Hessian of some problems."""

    def only(self, problems: Tensor) -> Self:
        """That of those problems alone, of bool."""

    def __call__(self, vector: Tensor) -> Tensor:
        """Its product with a vector of float32 for each row."""


class Problems(Protocol):
    """Convex problems of equal shape."""

    @property
    def least_damping(self) -> float:
        """The smallest damping that makes a difference."""

    def only(self, problems: Tensor) -> Self:
        """Those problems alone, of bool."""

    def objective(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """The objective of each problem at parameters of shape (b, rows, columns), shape (b,), and its gradient."""

    def inverse_hessian(self, theta: Tensor, damping: Tensor) -> InverseHessian:
        """What guesses at the steps from `theta`, with a damping of shape (b,) of the penalty's kind."""


def minimise(problems: Problems, start: Tensor, most_steps: int = MOST_STEPS) -> Tensor:
    """L-BFGS (Nocedal & Wright 2006, algorithm 7.5) on several convex problems side by side.

    The guess at the curvature is made anew every few steps, and damped (Levenberg 1944) where steps along it turned out
    short: an image of which a class is sure has hardly any curvature, until a step changes that. Weakly penalised
    problems of many classes of few images take a tenth of the steps so.

    Parameters
    ----------
    problems : Problems
    start : Tensor of float64, shape (b, rows, columns)
    most_steps : int
        After which a problem is left, solved or not.

    Returns
    -------
    Tensor of float64, shape (b, rows, columns)
    """
    least = problems.least_damping
    theta, solution, places = start, start.clone(), torch.arange(len(start), device=start.device)
    value, gradient = problems.objective(theta)
    damping, length, age = torch.zeros_like(value), torch.ones_like(value), 0
    guess = problems.inverse_hessian(theta, damping)
    history: list[tuple[Tensor, Tensor]] = []
    for _ in range(most_steps):
        running = gradient.abs().amax(dim=(1, 2)) > TOLERANCE
        if not bool(running.all()):
            solution[places] = theta
            problems, guess = problems.only(running), guess.only(running)
            places, theta, gradient = places[running], theta[running], gradient[running]
            damping, length = damping[running], length[running]
            history = [(step[running], change[running]) for step, change in history]
        if not len(places):
            break
        if age == FRESH or bool((length < SHORT).any()):
            calmer = damping / FACTOR if age == FRESH else damping
            damping = torch.where(length < SHORT, (damping * FACTOR).clamp(min=least), calmer)
            damping = torch.where(damping < least, 0, damping)
            guess, age = problems.inverse_hessian(theta, damping), 0
        direction = -_inverse_hessian_times(gradient.float(), history, guess)
        moved, new_gradient, length = _line_search(problems, theta, gradient, direction)
        history = [*history[1 - MEMORY :], ((moved - theta).float(), (new_gradient - gradient).float())]
        theta, gradient, age = moved, new_gradient, age + 1
    solution[places] = theta
    return solution


def _inverse_hessian_times(vector: Tensor, history: list[tuple[Tensor, Tensor]], first_guess: InverseHessian) -> Tensor:
    """The two-loop recursion (Nocedal & Wright 2006, algorithm 7.4)."""
    # A step lost in rounding has no curvature to tell; its pair counts for nothing.
    inverse = [_reciprocal(_dot(step, change)) for step, change in history]
    weights = []
    for (step, change), rho in zip(reversed(history), reversed(inverse), strict=True):
        weights.append(rho * _dot(step, vector))
        vector = vector - weights[-1] * change
    result = first_guess(vector)
    for (step, change), rho, weight in zip(history, inverse, reversed(weights), strict=True):
        result = result + (weight - rho * _dot(change, result)) * step
    return result


def _line_search(
    problems: Problems, theta: Tensor, gradient: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Where each problem's slope is half of what it was or less, by the secant rule, which convex problems allow.

    Returns
    -------
    tuple of Tensor
        The parameters, the gradient there, and the length of the step, shape (b,).
    """
    first = _dot(gradient, direction)
    low, low_slope, length = torch.zeros_like(first), first, torch.ones_like(first)
    high, high_slope = torch.full_like(first, torch.inf), torch.full_like(first, torch.inf)
    for _ in range(12):
        moved = theta + length * direction
        _, gradient = problems.objective(moved)
        slope = _dot(gradient, direction)
        flat = slope.abs() <= FLAT * first.abs()
        if bool(flat.all()):
            break
        beyond = slope > 0
        high, high_slope = torch.where(beyond, length, high), torch.where(beyond, slope, high_slope)
        low, low_slope = torch.where(beyond, low, length), torch.where(beyond, low_slope, slope)
        between = low + (high - low) * (low_slope / (low_slope - high_slope)).clamp(0.1, 0.9)
        length = torch.where(flat, length, torch.where(high < torch.inf, between, 2 * length))
    return moved, gradient, length[:, 0, 0]


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(1, 2), keepdim=True)


def _reciprocal(x: Tensor) -> Tensor:
    """1 / x, and 0 where x is not greater than 0."""
    return torch.where(x > 0, 1 / x, 0.0)
