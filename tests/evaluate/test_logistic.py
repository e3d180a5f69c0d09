"""Many logistic regressions at once are each scikit-learn's, solved to convergence."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from digit_features import digit_features
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from selfsup.evaluate import logistic
from selfsup.evaluate.linear_probe import STRENGTHS
from selfsup.evaluate.logistic import solve


def gradient(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, strength: float) -> float:
    """Largest entry of the gradient of sum of cross entropies + |W|^2 / 2C, by autograd, per image."""
    w, b = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    # Two classes: |w|^2 / 2C with w = W_1 - W_0, as in the binary problem.
    penalty = (w[1] - w[0]).pow(2).sum() if len(w) == 2 else w.pow(2).sum()
    loss = torch.nn.functional.cross_entropy(x @ w.T + b, y, reduction="sum") + penalty / (2 * strength)
    return max(g.abs().max().item() for g in torch.autograd.grad(loss, (w, b))) / len(x)


@pytest.mark.parametrize(("classes", "count"), [(10, 300), (4, 30), (2, 80), (3, 12)])
def test_every_strength_is_solved_to_convergence(classes: int, count: int) -> None:
    x, y = digit_features(classes, count)
    weights, biases = solve(x, y, torch.tensor(STRENGTHS, dtype=torch.float64), num_classes=classes)
    for weight, bias, strength in zip(weights, biases, STRENGTHS, strict=True):
        assert gradient(x, y, weight, bias, strength) < 2e-6, strength


@pytest.mark.parametrize(("classes", "count"), [(5, 200), (5, 40), (2, 100)])
@pytest.mark.parametrize("strength", [0.01, 1.0, 10.0])
def test_probabilities_are_those_of_scikit_learn(classes: int, count: int, strength: float) -> None:
    x, y = digit_features(classes, count)
    reference = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(x.numpy(), y.numpy())
    weights, biases = solve(x, y, torch.tensor([strength], dtype=torch.float64), num_classes=classes)
    fresh, _ = digit_features(classes, 100, start=count)
    found = torch.softmax(fresh @ weights[0].T + biases[0], dim=1).numpy()
    np.testing.assert_allclose(found, reference.predict_proba(fresh.numpy()), atol=1e-3)


def test_a_problem_is_solved_alike_alone_and_among_others(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = digit_features(5, 60)
    strengths = torch.tensor([0.01, 1.0, 30.0], dtype=torch.float64)
    together = solve(x, y, strengths, num_classes=5)
    alone = solve(x, y, strengths[1:2], num_classes=5)
    torch.testing.assert_close(together[0][1:2], alone[0], atol=1e-4, rtol=0)
    # Too many to fit at once: in groups of one.
    monkeypatch.setattr(logistic, "MOST_LOGITS", 60 * 5)
    grouped = solve(x, y, strengths, num_classes=5)
    assert torch.equal(grouped[0][1:2], alone[0])
    assert torch.equal(grouped[1][1:2], alone[1])


def test_problems_may_have_images_of_their_own() -> None:
    (x, y), strengths = digit_features(3, 120), torch.tensor([1.0, 1.0], dtype=torch.float64)
    halves = torch.stack([x[:60], x[60:]]), torch.stack([y[:60], y[60:]])
    weights, biases = solve(*halves, strengths, num_classes=3)
    for i in range(2):
        assert gradient(halves[0][i], halves[1][i], weights[i], biases[i], 1.0) < 2e-6
    assert not torch.allclose(weights[0], weights[1], atol=0.01)


def test_correlated_and_badly_scaled_dimensions_converge_too() -> None:
    x, y = digit_features(10, 400)
    mixing = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 64)))
    scales = torch.logspace(-2, 2, 64, dtype=torch.float64)
    bad = x @ mixing * scales
    weights, biases = solve(bad, y, torch.tensor([0.1, 10.0], dtype=torch.float64), num_classes=10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = LogisticRegression(C=10.0, solver="newton-cg", tol=1e-8, max_iter=1000).fit(bad.numpy(), y.numpy())
    found = torch.softmax(bad @ weights[1].T + biases[1], dim=1).numpy()
    np.testing.assert_allclose(found, reference.predict_proba(bad.numpy()), atol=2e-3)


def test_a_single_class_has_nothing_to_learn() -> None:
    weights, biases = solve(
        torch.randn(6, 3, dtype=torch.float64),
        torch.zeros(6, dtype=torch.long),
        torch.ones(1, dtype=torch.float64),
        num_classes=1,
    )
    assert weights.abs().max() == biases.abs().max() == 0
