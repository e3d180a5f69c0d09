"""Many logistic regressions at once are each scikit-learn's, solved to convergence."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from digit_features import digit_features
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from selfsup.evaluation import logistic
from selfsup.evaluation.linear_probe import CS
from selfsup.evaluation.logistic import MOST_STEPS_OF_LARGE, _Problems, solve, solve_path


def path(x: Tensor, y: Tensor, Cs: Sequence[float], *, num_classes: int) -> tuple[Tensor, Tensor]:
    """The solutions under each penalty, joined."""
    weights, biases = zip(*solve_path(x, y, Cs, num_classes=num_classes), strict=True)
    return torch.stack(weights), torch.stack(biases)


def gradient(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, C: float) -> float:
    """Largest entry of the gradient of sum of cross entropies + |W|^2 / 2C, by autograd, per image."""
    w, b = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    # Two classes: |w|^2 / 2C with w = W_1 - W_0, as in the binary problem.
    penalty = (w[1] - w[0]).pow(2).sum() if len(w) == 2 else w.pow(2).sum()
    loss = torch.nn.functional.cross_entropy(x @ w.T + b, y, reduction="sum") + penalty / (2 * C)
    return max(g.abs().max().item() for g in torch.autograd.grad(loss, (w, b))) / len(x)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The penalty of every objective that is asked for."""
    found: list[float] = []
    objective = _Problems.objective

    def counted(problems: _Problems, theta: Tensor) -> tuple[Tensor, Tensor]:
        found.append(float(problems.penalty[0]))
        return objective(problems, theta)

    monkeypatch.setattr(_Problems, "objective", counted)
    return found


@pytest.mark.parametrize(("classes", "count"), [(10, 300), (4, 30), (2, 80), (3, 12)])
def test_every_strength_is_solved_to_convergence(classes: int, count: int) -> None:
    x, y = digit_features(classes, count)
    weights, biases = path(x, y, CS, num_classes=classes)
    for weight, bias, C in zip(weights, biases, CS, strict=True):
        assert gradient(x, y, weight, bias, C) < 2e-6, C


@pytest.mark.parametrize(("classes", "count"), [(5, 200), (5, 40), (2, 100)])
@pytest.mark.parametrize("C", [0.01, 1.0, 10.0])
def test_probabilities_are_those_of_scikit_learn(classes: int, count: int, C: float) -> None:
    x, y = digit_features(classes, count)
    reference = LogisticRegression(C=C, tol=1e-10, max_iter=10_000).fit(x.numpy(), y.numpy())
    weights, biases = path(x, y, [C], num_classes=classes)
    fresh, _ = digit_features(classes, 100, start=count)
    found = torch.softmax(fresh @ weights[0].T + biases[0], dim=1).numpy()
    np.testing.assert_allclose(found, reference.predict_proba(fresh.numpy()), atol=1e-3)


def test_a_strength_is_solved_alike_alone_and_after_others() -> None:
    x, y = digit_features(5, 60)
    weights, biases = path(x, y, [0.01, 1.0, 30.0], num_classes=5)
    for weight, bias, C in zip(weights, biases, [0.01, 1.0, 30.0], strict=True):
        alone_weight, alone_bias = path(x, y, [C], num_classes=5)
        assert gradient(x, y, weight, bias, C) < 2e-6
        found, expected = (
            torch.softmax(x @ w.T + b, dim=1) for w, b in ((weight, bias), (alone_weight[0], alone_bias[0]))
        )
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_problems_may_have_images_of_their_own() -> None:
    x, y = digit_features(3, 120)
    halves = torch.stack([x[:60], x[60:]]), torch.stack([y[:60], y[60:]])
    weights, biases = solve(*halves, 1.0, num_classes=3)
    for i in range(2):
        assert gradient(halves[0][i], halves[1][i], weights[i], biases[i], 1.0) < 2e-6
    assert not torch.allclose(weights[0], weights[1], atol=0.01)


def test_correlated_and_badly_scaled_dimensions_converge_too() -> None:
    x, y = digit_features(10, 200)  # of 400 the reference needs a hundred times as long
    mixing = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 64)))
    scales = torch.logspace(-2, 2, 64, dtype=torch.float64)
    bad = x @ mixing * scales
    weights, biases = path(bad, y, [0.1, 10.0], num_classes=10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = LogisticRegression(C=10.0, solver="newton-cg", tol=1e-8, max_iter=1000).fit(bad.numpy(), y.numpy())
    found = torch.softmax(bad @ weights[1].T + biases[1], dim=1).numpy()
    np.testing.assert_allclose(found, reference.predict_proba(bad.numpy()), atol=2e-3)


def test_an_embedding_of_which_a_few_directions_hold_nearly_all_is_solved_for_every_strength() -> None:
    x, y = digit_features(10, 500)
    rng = np.random.default_rng(0)
    hidden = torch.relu(x @ torch.from_numpy(rng.normal(size=(64, 256))))
    turn, back = (torch.from_numpy(np.linalg.qr(rng.normal(size=(256, 256)))[0]) for _ in range(2))
    wide = hidden @ turn * torch.logspace(-3, 0, 256, dtype=torch.float64) @ back
    wide = (wide - wide.mean(0)) / wide.std(0)
    weights, biases = path(wide, y, CS, num_classes=10)
    for weight, bias, C in zip(weights, biases, CS, strict=True):
        assert gradient(wide, y, weight, bias, C) < 2e-6, C


@pytest.mark.parametrize("classes", [75, 300])
def test_many_classes_of_few_images_need_few_steps(classes: int, asked: list[float]) -> None:
    """Embeddings of few directions, as untrained networks have. One curvature for all took 256 steps (of 300)."""
    rng = np.random.default_rng(0)
    y = torch.from_numpy(np.tile(np.arange(classes), 3))
    hidden = rng.normal(size=(classes, 24))[y] + 0.3 * rng.normal(size=(len(y), 24))
    x = torch.from_numpy(np.maximum(hidden @ rng.normal(size=(24, 256)), 0))
    x = (x - x.mean(0)) / x.std(0)
    weights, biases = path(x, y, CS, num_classes=classes)
    assert len(asked) < 150
    for weight, bias, C in zip(weights, biases, CS, strict=True):
        assert gradient(x, y, weight, bias, C) < 2e-6, C


def test_a_single_class_has_nothing_to_learn() -> None:
    weights, biases = solve(
        torch.randn(1, 6, 3, dtype=torch.float64),
        torch.zeros(1, 6, dtype=torch.long),
        1.0,
        num_classes=1,
    )
    assert weights.abs().max() == biases.abs().max() == 0


def test_a_large_problem_is_solved_in_parts_as_it_is_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = digit_features(10, 200)
    weight, bias = path(x, y, [0.1, 1.0], num_classes=10)
    monkeypatch.setattr(logistic, "MOST_ENTRIES", 10 * 7)  # seven images at once
    in_parts, in_parts_bias = path(x, y, [0.1, 1.0], num_classes=10)
    for number, C in enumerate([0.1, 1.0]):
        assert gradient(x, y, in_parts[number], in_parts_bias[number], C) < 2e-6
        found, expected = (
            torch.softmax(x @ w[number].T + b[number], dim=1) for w, b in ((in_parts, in_parts_bias), (weight, bias))
        )
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def few_directions(classes: int, directions: int, width: int, noise: float) -> tuple[Tensor, Tensor]:
    """Fifteen embeddings of each class as untrained networks make them, which converge slowly under weak penalties."""
    rng = np.random.default_rng(0)
    y = torch.from_numpy(np.tile(np.arange(classes), 15))
    hidden = rng.normal(size=(classes, directions))[y] + noise * rng.normal(size=(len(y), directions))
    x = torch.from_numpy(np.maximum(hidden @ rng.normal(size=(directions, width)), 0))
    return (x - x.mean(0)) / x.std(0), y


@pytest.mark.parametrize(("directions", "width", "noise"), [(16, 24, 0.7), (16, 24, 0.5), (40, 96, 1.0)])
def test_a_large_problem_is_left_early_and_classifies_as_well(
    directions: int, width: int, noise: float, monkeypatch: pytest.MonkeyPatch, asked: list[float]
) -> None:
    x, y = few_directions(100, directions, width, noise)

    def accuracies() -> np.ndarray:
        asked.clear()
        weights, biases = path(x[:500], y[:500], CS, num_classes=100)
        return ((x[500:] @ weights.mT + biases[:, None]).argmax(dim=2) == y[500:]).double().mean(dim=1).numpy()

    converged, objectives = accuracies(), len(asked)
    monkeypatch.setattr(logistic, "LARGE", 0)
    left = accuracies()
    assert 0.2 < converged.max() < 0.95
    assert len(asked) < 0.8 * objectives
    np.testing.assert_allclose(left, converged, atol=0.015)
    assert left.max() > converged.max() - 0.01


def test_a_large_problem_takes_ten_steps_under_each_penalty(
    monkeypatch: pytest.MonkeyPatch, asked: list[float]
) -> None:
    x, y = few_directions(60, 16, 200, 1.0)
    x, y, Cs = x[:300], y[:300], (10.0, 100.0, 1000.0)
    monkeypatch.setattr(logistic, "LARGE", 300 * 60 + 1)
    path(x, y, Cs, num_classes=60)
    converged = [asked.count(1 / C) for C in Cs]
    asked.clear()
    monkeypatch.setattr(logistic, "LARGE", 300 * 60)
    path(x, y, Cs, num_classes=60)
    objectives = [asked.count(1 / C) for C in (1.0, *Cs)]  # first, a penalty ten times as strong
    # One objective where a penalty begins, and one or two for a step.
    assert all(MOST_STEPS_OF_LARGE < count <= 1 + 2 * MOST_STEPS_OF_LARGE for count in objectives), objectives
    assert converged[0] > 40


def test_a_single_penalty_of_a_large_problem_classifies_as_well_as_its_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = few_directions(100, 40, 96, 1.0)

    def accuracy() -> float:
        weight, bias = solve(x[None, :500], y[None, :500], 1.0, num_classes=100)
        return float(((x[500:] @ weight[0].mT + bias[0]).argmax(dim=1) == y[500:]).double().mean())

    converged = accuracy()
    monkeypatch.setattr(logistic, "LARGE", 0)
    assert accuracy() == pytest.approx(converged, abs=0.01)
