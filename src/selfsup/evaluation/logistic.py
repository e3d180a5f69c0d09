"""Logistic regression, multinomial or of several labels: penalised, solved to convergence on any device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

#: Largest entry of the gradient of the mean objective at which a problem counts as solved.
TOLERANCE = 1e-6
#: Most iterations; problems that are nearly unpenalised and separable may come close only.
MOST_STEPS = 500
#: Classes times images from which a problem is large: it is left after so many steps, or where `PACE` of them lower the
#: objective by less than this share, which changes hardly an image's class.
LARGE, MOST_STEPS_OF_LARGE, PACE, STALLED = 1_000_000, 60, 5, 2e-3
#: Most entries of the logits that are handled at once.
MOST_ENTRIES = 50_000_000
#: Pairs of steps and gradient changes from which L-BFGS knows the curvature.
MEMORY = 10
#: Most steps for which the guess at the curvature holds.
FRESH = 10
#: Share of its slope that a line may keep where a step ends, and the length of a step that is short.
FLAT, SHORT = 0.5, 0.3
#: The smallest damping, as a share of the curvature at zero, and by how much it rises and falls.
DAMPING, FACTOR = 0.2, 6.0
#: Images, of each class those it is least sure of, whose curvature is the class's own; that of others is a mean over
#: the classes.
OWN_IMAGES = 16
#: What products of float32 may lose, as a share of a Hessian's largest entry.
ROUNDING = 1e-6


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
    return problems.weight_and_bias(_minimise(problems, problems.zeros(), C))


def solve_path(x: Tensor, y: Tensor, Cs: Sequence[float], *, num_classes: int) -> tuple[Tensor, Tensor]:
    """The problem of :func:`solve` on the same images under several penalties.

    From the strongest penalty to the weakest each begins where the one before ended, and knows the curvature there. Of
    images with several labels, that of each label against the rest is scikit-learn's of two classes.

    Parameters
    ----------
    x : Tensor of float64, shape (n, width)
    y : Tensor of int64, shape (n,), or bool, shape (n, num_classes)
        Classes, or which labels each image has.
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
        theta = _minimise(problem, theta, C)
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
    y : Tensor of int64, shape (b, 1, n), or float32, shape (b, classes, n)
        The images' classes, in [0, classes); or 1 for each label that an image has.
    classes : int
        Or labels.
    """

    basis: Tensor | None
    rows: Tensor
    y: Tensor
    classes: int

    @property
    def several(self) -> bool:
        """Whether images have several labels, each of which is told from the rest by itself."""
        return self.y.is_floating_point()

    @classmethod
    def of(cls, x: Tensor, y: Tensor, num_classes: int) -> _Problems:
        # A penalised solution lies in the span of the images.
        basis = torch.linalg.qr(x.mT).Q if x.shape[-2] < x.shape[-1] else None
        coordinates = x if basis is None else x @ basis
        rows = torch.cat([coordinates, x.new_ones(*x.shape[:-1], 1)], dim=-1)
        return cls(basis, rows.float(), y.mT.float() if y.dtype == torch.bool else y[:, None], num_classes)

    def zeros(self) -> Tensor:
        """Parameters of every problem, shape (b, classes, rank + 1)."""
        shape = (len(self.rows), self.classes, self.rows.shape[2])
        return torch.zeros(shape, dtype=torch.float64, device=self.rows.device)

    def weight_and_bias(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        weight = theta[..., :-1]
        return (weight if self.basis is None else weight @ self.basis.mT).contiguous(), theta[..., -1]

    def only(self, problems: Tensor) -> _Problems:
        """Some of them, from a mask of shape (b,)."""
        return replace(self, rows=self.rows[problems], y=self.y[problems])

    def penalty(self, C: float) -> Tensor:
        """What the square of each parameter of a class costs, shape (rank + 1,)."""
        # Two classes: |W|^2 = |w|^2 / 2 where W_1 = -W_0 = w / 2.
        doubled = self.classes == 2 and not self.several
        penalty = self.rows.new_full(self.rows.shape[-1:], (2.0 if doubled else 1.0) / C, dtype=torch.float64)
        penalty[-1] = 0
        return penalty

    def objective(self, theta: Tensor, penalty: Tensor) -> tuple[Tensor, Tensor]:
        """The mean objective of each problem, shape (b,), and its gradient."""
        likelihood, slope = torch.zeros((), dtype=torch.float64, device=theta.device), torch.zeros_like(theta)
        for some, theirs in zip(*self._at_once(), strict=True):
            more, residual = self._likelihood(theta.float() @ some.mT, theirs)
            likelihood = likelihood + more.double().sum(dim=(1, 2))
            slope += (residual @ some).double()
        shrunk, n = penalty * theta, self.rows.shape[1]
        return ((shrunk * theta).sum(dim=(1, 2)) / 2 - likelihood) / n, (slope + shrunk) / n

    def _likelihood(self, logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms of the likelihoods of `y`, as it is shaped, and how far the logits' probabilities are above it."""
        if self.several:
            signs = 2 * y - 1
            return torch.nn.functional.logsigmoid(signs * logits), torch.sigmoid(logits) - y
        log_p = torch.log_softmax(logits, dim=1)
        likelihood = log_p.gather(1, y)
        return likelihood, log_p.exp_().scatter_add_(1, y, torch.full_like(log_p[:, :1], -1))

    def _at_once(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The images in parts whose logits fit into memory."""
        images = max(1, MOST_ENTRIES // (len(self.rows) * self.classes))
        return self.rows.split(images, dim=1), self.y.split(images, dim=2)

    def _curvature(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The largest entries for each class and their images, shape (b, classes, k), and the mean over the classes."""
        found, begin = [], 0
        for rows in self._at_once()[0]:
            logits = theta.float() @ rows.mT
            p = torch.sigmoid(logits) if self.several else torch.softmax(logits, dim=1)
            curvature = p * (1 - p)
            own, images = curvature.topk(min(OWN_IMAGES, curvature.shape[2]), dim=2)
            found.append((own, images + begin, curvature.mean(dim=1)))
            begin += rows.shape[1]
        own, images, shared = (torch.cat(parts, dim=-1) for parts in zip(*found, strict=True))
        if len(found) > 1:
            own, places = own.topk(min(OWN_IMAGES, own.shape[2]), dim=2)
            images = images.gather(2, places)
        return own, images, shared

    def damping(self) -> float:
        """The least that is worth adding to the penalty in a guess at the curvature."""
        return DAMPING * float(self.rows[..., :-1].square().mean()) * self.rows.shape[1] / self.classes

    def inverse_hessian(self, theta: Tensor, penalty: Tensor, damping: Tensor) -> _InverseHessian:
        """What guesses at the steps from `theta`, for a penalty of shape (rank + 1,) and a damping of shape (b,)."""
        own, images, shared = self._curvature(theta)
        shared = shared.clamp(min=1e-9)
        hessian = (self.rows.mT @ (shared[..., None] * self.rows)).double()
        # Rounding may have taken from a direction all that it had.
        floor = ROUNDING * hessian.diagonal(dim1=1, dim2=2).amax(dim=1)[:, None] + penalty + damping[:, None]
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
        return (vector - (self.own.mT @ weights)[..., 0]) @ self.shared


def _minimise(problems: _Problems, start: Tensor, C: float) -> Tensor:
    """L-BFGS (Nocedal & Wright 2006, algorithm 7.5) on several convex problems side by side.

    The guess at the curvature is made anew every few steps, and damped (Levenberg 1944) where steps along it turned out
    short: an image of which a class is sure has hardly any curvature, until a step changes that. Weakly penalised
    problems of many classes of few images take a tenth of the steps so.

    Parameters
    ----------
    problems : _Problems
    start : Tensor, shape (b, classes, rank + 1)
    C : float

    Returns
    -------
    Tensor, shape (b, classes, rank + 1)
    """
    large = problems.classes * problems.rows.shape[1] >= LARGE
    penalty, least = problems.penalty(C), problems.damping()
    theta, solution, places = start, start.clone(), torch.arange(len(start), device=start.device)
    value, gradient = problems.objective(theta, penalty)
    before, stalled = value, torch.zeros_like(value, dtype=torch.bool)
    damping, length, age = torch.zeros_like(value), torch.ones_like(value), 0
    guess = problems.inverse_hessian(theta, penalty, damping)
    history: list[tuple[Tensor, Tensor]] = []
    for number in range(1, (MOST_STEPS_OF_LARGE if large else MOST_STEPS) + 1):
        running = (gradient.abs().amax(dim=(1, 2)) > TOLERANCE) & ~stalled
        if not bool(running.all()):
            solution[places] = theta
            problems, guess = problems.only(running), guess.only(running)
            places, theta, gradient = places[running], theta[running], gradient[running]
            before, stalled, damping, length = before[running], stalled[running], damping[running], length[running]
            history = [(step[running], change[running]) for step, change in history]
        if not len(places):
            break
        if age == FRESH or bool((length < SHORT).any()):
            calmer = damping / FACTOR if age == FRESH else damping
            damping = torch.where(length < SHORT, (damping * FACTOR).clamp(min=least), calmer)
            damping = torch.where(damping < least, 0, damping)
            guess, age = problems.inverse_hessian(theta, penalty, damping), 0
        direction = -_inverse_hessian_times(gradient.float(), history, guess)
        if not problems.several:  # what is added to every class changes no probability
            direction -= direction.mean(dim=1, keepdim=True)
        moved, value, new_gradient, length = _line_search(problems, penalty, theta, gradient, direction)
        history = [*history[1 - MEMORY :], ((moved - theta).float(), (new_gradient - gradient).float())]
        theta, gradient, age = moved, new_gradient, age + 1
        if large and number % PACE == 0:
            before, stalled = value, before - value < STALLED * value
    solution[places] = theta
    return solution


def _inverse_hessian_times(
    vector: Tensor, history: list[tuple[Tensor, Tensor]], first_guess: _InverseHessian
) -> Tensor:
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
    problems: _Problems, penalty: Tensor, theta: Tensor, gradient: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where each problem's slope is half of what it was or less, by the secant rule, which convex problems allow.

    Returns
    -------
    tuple of Tensor
        The parameters, the objective there and its gradient, and the length of the step, shape (b,).
    """
    first = _dot(gradient, direction)
    low, low_slope, length = torch.zeros_like(first), first, torch.ones_like(first)
    high, high_slope = torch.full_like(first, torch.inf), torch.full_like(first, torch.inf)
    for _ in range(12):
        moved = theta + length * direction
        value, gradient = problems.objective(moved, penalty)
        slope = _dot(gradient, direction)
        flat = slope.abs() <= FLAT * first.abs()
        if bool(flat.all()):
            break
        beyond = slope > 0
        high, high_slope = torch.where(beyond, length, high), torch.where(beyond, slope, high_slope)
        low, low_slope = torch.where(beyond, low, length), torch.where(beyond, low_slope, slope)
        between = low + (high - low) * (low_slope / (low_slope - high_slope)).clamp(0.1, 0.9)
        length = torch.where(flat, length, torch.where(high < torch.inf, between, 2 * length))
    return moved, value, gradient, length[:, 0, 0]


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(1, 2), keepdim=True)


def _reciprocal(x: Tensor) -> Tensor:
    """1 / x, and 0 where x is not greater than 0."""
    return torch.where(x > 0, 1 / x, 0.0)
