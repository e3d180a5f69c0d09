"""The attentive probe finds the patch that matters, and with one patch is logistic regression."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from selfsup.evaluation.attentive_probe import AttentiveProbe, attend, fit_attentive_probes
from selfsup.evaluation.linear_probe import CS, fit_linear_probe

CLASSES, WIDTH = 4, 8


def test_queries_of_zero_take_the_mean() -> None:
    patches = torch.randn(3, 5, WIDTH, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(attend(patches, torch.zeros(2, WIDTH)), patches.mean(dim=1))


def test_each_query_pools_its_share_of_the_width_from_the_patch_that_it_points_at() -> None:
    patches = torch.eye(4)[None]  # four patches of width four
    query = torch.tensor([[0, 100.0, 0, 0], [0, 0, 0, 100.0]])
    torch.testing.assert_close(attend(patches, query), torch.tensor([[0.0, 1, 0, 1]]))


@pytest.mark.parametrize("C", [0.01, 1.0])
def test_with_a_single_patch_it_is_scikit_learns_logistic_regression(C: float) -> None:
    x, y = load_digits(n_class=5, return_X_y=True)
    train, test = x[:200].astype(np.float32), x[200:300]
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=5000, tol=1e-8)).fit(train, y[:200])
    (probe,) = fit_attentive_probes(torch.tensor(train)[:, None], torch.tensor(y[:200]), [C], num_classes=5)
    found = torch.softmax(probe.logits(torch.tensor(test).float()[:, None]), dim=1)
    np.testing.assert_allclose(found, reference.predict_proba(test), atol=0.01)


def one_patch_of_many(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Eight patches, each with a class of its own; the image's is that of the one with a mark."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, CLASSES, (count, 8))
    marked = rng.integers(0, 8, count)
    patches = rng.normal(0, 0.1, (count, 8, WIDTH))
    patches[..., :CLASSES] += np.eye(CLASSES)[classes]
    patches[np.arange(count), marked, CLASSES] += 1
    return torch.tensor(patches).float(), torch.tensor(classes[np.arange(count), marked])


def test_it_reads_the_patch_that_matters_where_the_mean_is_lost() -> None:
    (train_x, train_y), (test_x, test_y) = one_patch_of_many(400, 0), one_patch_of_many(400, 1)
    mean = fit_linear_probe(
        train_x.mean(1).numpy(), train_y.numpy(), test_x.mean(1).numpy(), test_y.numpy(), num_classes=CLASSES
    )
    probes = fit_attentive_probes(train_x, train_y, CS, num_classes=CLASSES)

    def accuracy(probe: AttentiveProbe) -> float:
        return float((probe.logits(test_x).argmax(dim=1) == test_y).float().mean())

    assert accuracy(probes[-1]) > 0.98
    assert mean.val_score < 0.6
    assert accuracy(probes[0]) < 0.6  # the strongest penalty leaves little but the mean


def test_nothing_is_drawn_at_random() -> None:
    x, y = one_patch_of_many(50, 0)
    torch.manual_seed(0)
    (first,) = fit_attentive_probes(x.clone(), y, [1.0], num_classes=CLASSES)
    torch.manual_seed(1)
    (second,) = fit_attentive_probes(x.clone(), y, [1.0], num_classes=CLASSES)
    assert torch.equal(first.query, second.query)
    assert first.query.abs().max() > 0
