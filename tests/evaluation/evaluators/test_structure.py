"""Measures without labels on embeddings whose values are known beforehand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from selfsup.evaluation.evaluators.structure import alignment, alpha_req, effective_rank, feature_std, lidar, uniformity
from selfsup.training.diagnostics import embedding_std


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


# -- alpha-ReQ -------------------------------------------------------------------------------------


def with_eigenvalues(eigenvalues: np.ndarray, n: int = 200) -> np.ndarray:
    """Embeddings whose covariance has exactly these eigenvalues, about a mean that is not zero."""
    rng = np.random.default_rng(0)
    left = np.linalg.qr(np.hstack([np.ones((n, 1)), rng.normal(size=(n, len(eigenvalues)))]))[0][:, 1:]
    right = np.linalg.qr(rng.normal(size=(len(eigenvalues), len(eigenvalues))))[0]
    return left * np.sqrt(eigenvalues) @ right.T + 5


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.3])
@pytest.mark.parametrize("n", [200, 41])
def test_a_spectrum_that_decays_by_a_power_law_has_that_power(alpha: float, n: int) -> None:
    features = with_eigenvalues(np.arange(1, 41.0) ** -alpha, n)
    assert alpha_req(features) == pytest.approx(alpha, abs=1e-6)
    assert alpha_req(features * 100) == pytest.approx(alpha, abs=1e-6)


def test_the_decay_is_the_line_through_the_spectrum_weighted_by_one_over_the_rank() -> None:
    eigenvalues = np.sort(np.random.default_rng(1).uniform(0.01, 1, 30))[::-1]
    rank = np.arange(1, 31)
    design = np.stack([np.log(rank), np.ones(30)], axis=1)
    weighted = design.T / rank
    slope, _ = np.linalg.solve(weighted @ design, weighted @ np.log(eigenvalues))
    assert alpha_req(with_eigenvalues(eigenvalues)) == pytest.approx(-slope, abs=1e-6)


def test_directions_without_variance_do_not_count_and_too_few_have_no_decay() -> None:
    spectrum = np.zeros(20)
    spectrum[:10] = np.arange(1, 11.0) ** -1.5
    assert alpha_req(with_eigenvalues(spectrum)) == pytest.approx(1.5, abs=1e-6)
    spectrum[4:] = 0
    assert math.isnan(alpha_req(with_eigenvalues(spectrum)))
    assert math.isnan(alpha_req(np.ones((30, 8), np.float32)))


# -- LiDAR -----------------------------------------------------------------------------------------


def views_of(means: np.ndarray, *, q: int, noise: np.ndarray, seed: int = 0) -> np.ndarray:
    """`q` views of each mean, whose deviations have exactly the covariance of `noise`'s squares."""
    n, width = means.shape
    rng = np.random.default_rng(seed)
    deviations = rng.normal(size=(q, n, width))
    deviations -= deviations.mean(axis=0)
    flat = deviations.reshape(-1, width)
    white = flat @ np.linalg.inv(np.linalg.cholesky(flat.T @ flat / len(flat))).T
    return means + (white * noise).reshape(q, n, width)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_images_that_differ_evenly_in_k_directions_have_lidar_k(k: int) -> None:
    means = np.zeros((60, 8))
    means[:, :k] = np.linalg.qr(np.hstack([np.ones((60, 1)), gaussian(60, k)]))[0][:, 1:] * 5
    views = views_of(means, q=3, noise=np.full(8, 0.3))
    assert lidar(views) == pytest.approx(k, rel=1e-3)


def test_what_varies_between_views_as_much_as_between_images_counts_for_less() -> None:
    """Two directions of equal feature_std between images; the views' noise decides how they count."""
    means = np.linalg.qr(np.hstack([np.ones((60, 1)), gaussian(60, 2)]))[0][:, 1:] * 5
    noise = np.array([0.1, 0.2])
    signal = (means**2).mean(axis=0) / (noise**2 + 1e-4)
    share = signal / signal.sum()
    expected = math.exp(-float((share * np.log(share)).sum()))
    assert lidar(views_of(means, q=4, noise=noise)) == pytest.approx(expected, rel=1e-4)
    assert expected < 1.9


def test_lidar_is_the_effective_rank_of_the_whitened_covariance() -> None:
    views = np.random.default_rng(0).normal(size=(4, 30, 6)) + gaussian(30, 6) * np.arange(1, 7)
    means = views.mean(axis=0)
    s_b = np.cov(means.T, bias=True)
    s_w = np.mean([np.outer(d, d) for d in (views - means).reshape(-1, 6)], axis=0) + 0.01 * np.eye(6)
    values, axes = np.linalg.eigh(s_w)
    root = axes / np.sqrt(values) @ axes.T
    share = np.linalg.eigvalsh(root @ s_b @ root)
    share /= share.sum()
    assert lidar(views, delta=0.01) == pytest.approx(math.exp(-(share * np.log(share)).sum()), rel=1e-6)


def test_too_few_views_to_fill_the_width_give_no_lidar() -> None:
    assert math.isnan(lidar(np.random.default_rng(0).normal(size=(2, 9, 10))))
    assert 1 < lidar(np.random.default_rng(0).normal(size=(2, 10, 10))) < 10


def test_views_that_are_all_alike_are_no_crash() -> None:
    assert lidar(np.ones((3, 10, 4))) == pytest.approx(1, abs=1e-6)


# -- feature_std ----------------------------------------------------------------------------------------


def test_spread_is_zero_for_one_point_and_one_for_a_gaussian() -> None:
    assert feature_std(np.tile(gaussian(1, 64), (100, 1))) == pytest.approx(0, abs=1e-6)
    assert feature_std(gaussian(2000, 64)) == pytest.approx(1, abs=0.02)


def test_spread_is_what_the_training_watches() -> None:
    features = gaussian(200, 32) + 0.5
    assert feature_std(features) == pytest.approx(embedding_std(torch.from_numpy(features)).item(), rel=1e-5)


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
