"""Measures of views on embeddings whose values are known beforehand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from selfsup.evaluation.evaluation_context import views_wanted
from selfsup.evaluation.evaluators.view_measures import alignment, lidar, uniformity


def gaussian(n: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


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


def test_embeddings_beyond_the_digits_of_a_number_have_no_lidar_and_are_no_crash() -> None:
    """Of two directions that vary alike in all views the covariance is singular but for delta, which 1e20 swallows."""
    views = np.repeat(gaussian(30, 4)[None], 3, axis=0) + 0.1 * np.random.default_rng(0).normal(size=(3, 30, 4))
    views[..., 3] = views[..., 2]
    assert np.isfinite(lidar(views))
    assert np.isnan(lidar(views * 1e20))


def test_views_that_are_all_alike_are_no_crash() -> None:
    assert lidar(np.ones((3, 10, 4))) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("images", "width", "views"), [(1000, 512, 2), (512, 512, 2), (360, 512, 3), (100, 512, 7)])
def test_as_many_views_are_taken_as_lidar_needs(images: int, width: int, views: int) -> None:
    assert views_wanted(images, width) == views
    assert images * (views - 1) >= width
    assert views == 2 or images * (views - 2) < width


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
