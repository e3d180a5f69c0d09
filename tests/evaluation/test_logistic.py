"""Many logistic regressions at once are each scikit-learn's, solved to convergence."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from digit_features import digit_features
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from selfsup.evaluation import logistic
from selfsup.evaluation.linear_probe import CS
from selfsup.evaluation.logistic import _Problems, solve, solve_path


def gradient(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, C: float) -> float:
    """Largest entry of the gradient of sum of cross entropies + |W|^2 / 2C, by autograd, per image."""
    w, b = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    # Two classes: |w|^2 / 2C with w = W_1 - W_0, as in the binary problem.
    penalty = (w[1] - w[0]).pow(2).sum() if len(w) == 2 else w.pow(2).sum()
    loss = torch.nn.functional.cross_entropy(x @ w.T + b, y, reduction="sum") + penalty / (2 * C)
    return max(g.abs().max().item() for g in torch.autograd.grad(loss, (w, b))) / len(x)


@pytest.mark.parametrize(("classes", "count"), [(10, 300), (4, 30), (2, 80), (3, 12)])
def test_every_strength_is_solved_to_convergence(classes: int, count: int) -> None:
    x, y = digit_features(classes, count)
    weights, biases = solve_path(x, y, CS, num_classes=classes)
    for weight, bias, C in zip(weights, biases, CS, strict=True):
        assert gradient(x, y, weight, bias, C) < 2e-6, C


@pytest.mark.parametrize(("classes", "count"), [(5, 200), (5, 40), (2, 100)])
@pytest.mark.parametrize("C", [0.01, 1.0, 10.0])
def test_probabilities_are_those_of_scikit_learn(classes: int, count: int, C: float) -> None:
    x, y = digit_features(classes, count)
    reference = LogisticRegression(C=C, tol=1e-10, max_iter=10_000).fit(x.numpy(), y.numpy())
    weights, biases = solve_path(x, y, [C], num_classes=classes)
    fresh, _ = digit_features(classes, 100, start=count)
    found = torch.softmax(fresh @ weights[0].T + biases[0], dim=1).numpy()
    np.testing.assert_allclose(found, reference.predict_proba(fresh.numpy()), atol=1e-3)


def test_a_strength_is_solved_alike_alone_and_among_others_in_any_order() -> None:
    x, y = digit_features(5, 60)
    weights, biases = solve_path(x, y, [30.0, 0.01, 1.0], num_classes=5)
    for weight, bias, C in zip(weights, biases, [30.0, 0.01, 1.0], strict=True):
        alone_weight, alone_bias = solve_path(x, y, [C], num_classes=5)
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
    weights, biases = solve_path(bad, y, [0.1, 10.0], num_classes=10)
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
    weights, biases = solve_path(wide, y, CS, num_classes=10)
    for weight, bias, C in zip(weights, biases, CS, strict=True):
        assert gradient(wide, y, weight, bias, C) < 2e-6, C


@pytest.mark.parametrize("classes", [75, 300])
def test_many_classes_of_few_images_need_few_steps(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Embeddings of few directions, as untrained networks have. One curvature for all took 256 steps (of 300)."""
    rng = np.random.default_rng(0)
    y = torch.from_numpy(np.tile(np.arange(classes), 3))
    hidden = rng.normal(size=(classes, 24))[y] + 0.3 * rng.normal(size=(len(y), 24))
    x = torch.from_numpy(np.maximum(hidden @ rng.normal(size=(24, 256)), 0))
    x = (x - x.mean(0)) / x.std(0)
    asked = []
    objective = _Problems.objective

    def counted(problems: _Problems, *point: Tensor) -> tuple[Tensor, Tensor]:
        asked.append(1)
        return objective(problems, *point)

    monkeypatch.setattr(_Problems, "objective", counted)
    weights, biases = solve_path(x, y, CS, num_classes=classes)
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
    weight, bias = solve_path(x, y, [0.1, 1.0], num_classes=10)
    monkeypatch.setattr(logistic, "MOST_ENTRIES", 10 * 7)  # seven images at once
    in_parts, in_parts_bias = solve_path(x, y, [0.1, 1.0], num_classes=10)
    for number, C in enumerate([0.1, 1.0]):
        assert gradient(x, y, in_parts[number], in_parts_bias[number], C) < 2e-6
        found, expected = (
            torch.softmax(x @ w[number].T + b[number], dim=1) for w, b in ((in_parts, in_parts_bias), (weight, bias))
        )
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_a_large_problem_is_left_where_more_steps_change_hardly_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    y = torch.from_numpy(np.tile(np.arange(100), 15))
    hidden = rng.normal(size=(100, 16))[y] + 0.7 * rng.normal(size=(len(y), 16))
    x = torch.from_numpy(np.maximum(hidden @ rng.normal(size=(16, 24)), 0))
    x = (x - x.mean(0)) / x.std(0)
    asked = []
    objective = _Problems.objective
    monkeypatch.setattr(_Problems, "objective", lambda *point: asked.append(1) or objective(*point))  # type: ignore[func-returns-value]

    def accuracies() -> np.ndarray:
        asked.clear()
        weights, biases = solve_path(x[:500], y[:500], CS, num_classes=100)
        return ((x[500:] @ weights.mT + biases[:, None]).argmax(dim=2) == y[500:]).double().mean(dim=1).numpy()

    converged, steps = accuracies(), len(asked)
    monkeypatch.setattr(logistic, "LARGE", 0)
    left = accuracies()
    assert 0.3 < converged.max() < 0.9
    assert len(asked) < 0.8 * steps
    np.testing.assert_allclose(left, converged, atol=0.01)
    assert left.max() == pytest.approx(converged.max(), abs=0.005)
