"""Signals of a training are what their definitions say, on batches whose values are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from selfsup.methods import Step
from selfsup.training.diagnostics import (
    collapse_epoch,
    effective_rank,
    embedding_exploded,
    embedding_std,
    pair_similarity,
    step_signals,
)

# -- embedding std ---------------------------------------------------------------------------------


def test_embedding_std_is_zero_where_all_images_are_one_point() -> None:
    assert embedding_std(torch.randn(1, 64).expand(100, -1)).item() == pytest.approx(0, abs=1e-6)
    # Also where they differ in length alone.
    assert embedding_std(torch.randn(1, 64) * torch.rand(100, 1)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("width", [2, 64, 512])
def test_embedding_std_is_one_for_a_gaussian(width: int) -> None:
    assert embedding_std(torch.randn(4000, width)).item() == pytest.approx(1, abs=0.03)


def test_embedding_std_is_the_mean_deviation_of_unit_vectors_times_the_root_of_the_width() -> None:
    embedding = torch.randn(50, 7) + 1
    unit = embedding.double().numpy()
    unit /= (unit**2).sum(axis=1, keepdims=True) ** 0.5
    assert embedding_std(embedding).item() == pytest.approx(unit.std(axis=0).mean() * math.sqrt(7), rel=1e-5)


def test_embedding_std_is_computed_with_the_digits_there_are_and_at_least_those_of_float32() -> None:
    assert embedding_std(torch.randn(50, 7).bfloat16()).dtype == torch.float32
    assert embedding_std(torch.randn(50, 7).double()).dtype == torch.float64


# -- similarities ----------------------------------------------------------------------------------


def test_similarities_are_the_means_over_all_pairs() -> None:
    first, second = torch.randn(9, 5), torch.randn(9, 5)
    cosines = torch.nn.functional.cosine_similarity(first[:, None], second[None], dim=2)
    positive, negative = pair_similarity(first, second)
    assert positive.item() == pytest.approx(cosines.diagonal().mean().item(), abs=1e-6)
    assert negative.item() == pytest.approx(cosines[~torch.eye(9, dtype=bool)].mean().item(), abs=1e-6)


def test_views_that_agree_are_similar_and_images_at_right_angles_are_not() -> None:
    positive, negative = pair_similarity(torch.eye(4), 3 * torch.eye(4))
    assert (positive.item(), negative.item()) == (1, 0)


def test_a_batch_of_one_image_has_no_negatives() -> None:
    positive, negative = pair_similarity(torch.ones(1, 3), torch.ones(1, 3))
    assert positive.item() == pytest.approx(1)
    assert math.isnan(negative.item())


# -- rank ------------------------------------------------------------------------------------------


def with_spectrum(*singular: float, n: int = 30, width: int = 12) -> np.ndarray:
    rng = np.random.default_rng(0)
    left = np.linalg.qr(rng.normal(size=(n, len(singular))))[0]
    right = np.linalg.qr(rng.normal(size=(width, len(singular))))[0]
    return left * singular @ right.T


@pytest.mark.parametrize("k", [1, 2, 5, 12])
def test_k_equal_singular_values_have_effective_rank_k(k: int) -> None:
    assert effective_rank(with_spectrum(*[3.7] * k)) == pytest.approx(k, rel=1e-6)


def test_effective_rank_is_the_exponential_of_the_entropy_of_the_spectrum() -> None:
    share = np.array([8, 4, 2, 1, 1]) / 16
    expected = math.exp(-sum(p * math.log(p) for p in share))
    assert effective_rank(with_spectrum(8, 4, 2, 1, 1)) == pytest.approx(expected, rel=1e-6)


def test_effective_rank_does_not_depend_on_scale_and_is_bounded_by_the_width() -> None:
    features = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    assert effective_rank(features * 100) == pytest.approx(effective_rank(features), rel=1e-5)
    assert 7 < effective_rank(features) < 8


def test_a_constant_embedding_has_rank_one_and_a_zero_embedding_is_no_crash() -> None:
    assert effective_rank(np.ones((20, 6), np.float32)) == pytest.approx(1, rel=1e-6)
    assert effective_rank(np.zeros((20, 6), np.float32)) == pytest.approx(1, rel=1e-6)


def test_the_rank_of_a_batch_on_a_device_is_that_of_the_same_numbers() -> None:
    embedding = torch.randn(40, 24, requires_grad=True) * torch.linspace(0.1, 2, 24)
    assert effective_rank(embedding) == effective_rank(embedding.detach().numpy())
    assert effective_rank(embedding.bfloat16()) == pytest.approx(effective_rank(embedding), rel=1e-2)


def test_a_broken_batch_has_no_rank() -> None:
    assert math.isnan(effective_rank(torch.tensor([[1.0, math.nan], [0.0, 1.0]])))


# -- together --------------------------------------------------------------------------------------


def test_the_signals_of_a_step_are_loss_spread_and_similarities() -> None:
    embedding, pair = torch.randn(8, 6, requires_grad=True), (torch.randn(8, 3), torch.randn(8, 3))
    signals = step_signals(Step(embedding.sum(), embedding, pair))
    expected = [embedding.sum(), embedding_std(embedding), *pair_similarity(*pair)]
    assert signals.tolist() == [value.item() for value in expected]
    assert not signals.requires_grad
    assert step_signals(Step(embedding.sum(), embedding)).isnan().tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("embedding_stds", "epoch"),
    [
        ([0.9, 0.5, 0.001, 0.0], 3),
        ([0.0, 0.0], 1),
        ([0.9, 0.001, 0.5], None),  # it recovered
        ([0.001, 0.5, 0.001], 3),
        ([0.9], None),
        ([], None),
    ],
)
def test_a_collapse_begins_where_the_spread_stays_small(embedding_stds: list[float], epoch: int | None) -> None:
    assert collapse_epoch(embedding_stds) == epoch


@pytest.mark.parametrize("largest", [1.0, 65_504.0, 65_520.0, 1e6, math.inf, math.nan])
def test_an_embedding_has_exploded_where_the_float16_that_is_kept_of_it_would_not_be_finite(largest: float) -> None:
    features = np.array([[0.5, -largest]], np.float32)
    with np.errstate(over="ignore"):
        kept = features.astype(np.float16)
    assert embedding_exploded(features) == (not np.isfinite(kept).all())
