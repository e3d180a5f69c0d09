"""The SGD probe reaches the optimum of its objective, and is the same for every rate as alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from digit_features import digit_features
from sklearn.linear_model import LogisticRegression

from selfsup.evaluation.sgd import descend


@pytest.mark.parametrize(("classes", "count"), [(4, 100), (2, 60)])
def test_with_a_penalty_it_comes_to_scikit_learns_solution(classes: int, count: int) -> None:
    x, y = digit_features(classes, count)
    C = 0.1
    # Mean cross entropy and decay / 2 |W|^2 against the sum and |W|^2 / 2C; for two classes the
    # binary problem's |w|^2 is 2 |W|^2.
    decay = (2 if classes == 2 else 1) / (C * count)
    weights, biases = descend(
        x, y, torch.tensor([0.02]), num_classes=classes, epochs=2000, batch_size=count, weight_decay=decay
    )
    reference = LogisticRegression(C=C, tol=1e-10, max_iter=10_000).fit(x.numpy(), y.numpy())
    found = torch.softmax(x @ weights[0].T + biases[0], dim=1).numpy()
    np.testing.assert_allclose(found, reference.predict_proba(x.numpy()), atol=1e-3)


def test_several_rates_at_once_are_each_as_alone() -> None:
    x, y = digit_features(5, 90)
    rates = torch.tensor([0.003, 0.1])
    together = descend(x, y, rates, num_classes=5, epochs=5, batch_size=20)
    for i in range(2):
        alone = descend(x, y, rates[i : i + 1], num_classes=5, epochs=5, batch_size=20)
        torch.testing.assert_close(together[0][i], alone[0][0])
        torch.testing.assert_close(together[1][i], alone[1][0])
    assert not torch.allclose(together[0][0], together[0][1], atol=0.01)


def test_its_steps_are_those_of_torchs_sgd() -> None:
    """A linear layer, its optimizer and its schedule, written out; every batch holds all images."""
    x, y = digit_features(3, 40)
    layer = torch.nn.Linear(64, 3).double()
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=7)
    for _ in range(7):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(layer(x), y).backward()
        optimizer.step()
        schedule.step()
    weights, biases = descend(x, y, torch.tensor([0.05]), num_classes=3, epochs=7, batch_size=40)
    torch.testing.assert_close(weights[0], layer.weight.detach())
    torch.testing.assert_close(biases[0], layer.bias.detach())


def test_the_order_of_the_images_belongs_to_the_seed() -> None:
    x, y = digit_features(3, 50)
    first, same, other = (
        descend(x, y, torch.tensor([0.1]), num_classes=3, epochs=2, batch_size=10, seed=seed)[0] for seed in (0, 0, 1)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
