"""Measures without labels on embeddings whose values are known beforehand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from selfsup.evaluate.label_free import alignment, effective_rank, spread, uniformity
from selfsup.training import embedding_std


def with_spectrum(*singular: float, n: int = 30, width: int = 12) -> np.ndarray:
    rng = np.random.default_rng(0)
    left = np.linalg.qr(rng.normal(size=(n, len(singular))))[0]
    right = np.linalg.qr(rng.normal(size=(width, len(singular))))[0]
    return left * singular @ right.T


def gaussian(n: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


# -- effective rank --------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 5, 12])
def test_k_equal_singular_values_have_effective_rank_k(k: int) -> None:
    assert effective_rank(with_spectrum(*[3.7] * k)) == pytest.approx(k, rel=1e-6)


def test_effective_rank_is_the_exponential_of_the_entropy_of_the_spectrum() -> None:
    share = np.array([8, 4, 2, 1, 1]) / 16
    expected = math.exp(-sum(p * math.log(p) for p in share))
    assert effective_rank(with_spectrum(8, 4, 2, 1, 1)) == pytest.approx(expected, rel=1e-6)


def test_effective_rank_does_not_depend_on_scale_and_is_bounded_by_the_width() -> None:
    features = gaussian(50, 8)
    assert effective_rank(features * 100) == pytest.approx(effective_rank(features), rel=1e-5)
    assert 7 < effective_rank(features) < 8


def test_a_constant_embedding_has_rank_one_and_a_zero_embedding_is_no_crash() -> None:
    assert effective_rank(np.ones((20, 6), np.float32)) == pytest.approx(1, rel=1e-6)
    assert effective_rank(np.zeros((20, 6), np.float32)) == pytest.approx(1, rel=1e-6)


# -- spread ----------------------------------------------------------------------------------------


def test_spread_is_zero_for_one_point_and_one_for_a_gaussian() -> None:
    assert spread(np.tile(gaussian(1, 64), (100, 1))) == pytest.approx(0, abs=1e-6)
    assert spread(gaussian(2000, 64)) == pytest.approx(1, abs=0.02)


def test_spread_is_what_the_training_watches() -> None:
    features = gaussian(200, 32) + 0.5
    assert spread(features) == pytest.approx(embedding_std(torch.from_numpy(features)).item(), rel=1e-5)


# -- alignment and uniformity --------------------------------------------------------------------------


def test_equal_views_are_perfectly_aligned_whatever_their_lengths() -> None:
    first = gaussian(20, 5)
    assert alignment(first, first) == 0
    assert alignment(first, first * 3) == pytest.approx(0, abs=1e-12)
    assert alignment(first, -first) == pytest.approx(4)


def test_alignment_is_the_mean_squared_distance_of_unit_vectors() -> None:
    first, second = gaussian(20, 5), gaussian(20, 5, seed=1)
    total = 0.0
    for a, b in zip(first.astype(float), second.astype(float), strict=True):
        total += np.sum((a / np.linalg.norm(a) - b / np.linalg.norm(b)) ** 2)
    assert alignment(first, second) == pytest.approx(total / 20)


@pytest.mark.parametrize("t", [1.0, 2.0])
def test_uniformity_is_the_log_of_the_mean_potential_over_all_pairs(t: float) -> None:
    features = gaussian(25, 4)
    unit = [row / np.linalg.norm(row) for row in features.astype(float)]
    potentials = [math.exp(-t * float(np.sum((unit[i] - unit[j]) ** 2))) for i in range(25) for j in range(25) if i < j]
    assert uniformity(features, t=t) == pytest.approx(math.log(sum(potentials) / len(potentials)), rel=1e-6)


def test_uniformity_is_zero_for_one_point_and_falls_as_points_spread() -> None:
    assert uniformity(np.tile(gaussian(1, 8), (30, 1))) == pytest.approx(0, abs=1e-9)
    opposite = np.array([[1.0, 0.0], [-1.0, 0.0]])
    assert uniformity(opposite) == pytest.approx(-8)  # squared distance 4, t = 2
    assert uniformity(gaussian(200, 64)) < uniformity(gaussian(200, 64) + 1) < -0.1
