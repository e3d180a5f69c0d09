"""Each label against the rest is scikit-learn's logistic regression of two classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from digit_features import digit_features
from sklearn.linear_model import LogisticRegression

from selfsup.evaluation import label_regressions
from selfsup.evaluation.label_regressions import solve_labels


@pytest.mark.parametrize("images", [40, 300], ids=["fewer than dimensions", "more"])
def test_every_solution_is_scikit_learns(images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, digit = digit_features(10, images)
    x = x - x.mean(dim=0)
    has = digit[:, None] >= torch.tensor([1, 5, 9])
    Cs = (1.0, 0.001, 0.1)
    monkeypatch.setattr(label_regressions, "MOST_ENTRIES", 2 * images)  # two labels at once
    weight, bias = solve_labels(x, has, Cs)
    for place, C in enumerate(Cs):
        for label in range(3):
            reference = LogisticRegression(C=C, tol=1e-10, solver="newton-cholesky").fit(
                x.numpy(), has[:, label].numpy()
            )
            np.testing.assert_allclose(weight[place, label], reference.coef_[0], atol=2e-4)
            np.testing.assert_allclose(bias[place, label], reference.intercept_[0], atol=1e-3)
