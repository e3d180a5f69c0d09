"""Clusters that were planted are found; what has no clusters does not pretend to."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, silhouette_score

from selfsup.evaluation.evaluators.clusters import find_clusters


def planted(count: int, *, each: int = 30, noise: float = 0.05, width: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = np.linalg.qr(rng.normal(size=(width, count)))[0].T
    truth = np.repeat(np.arange(count), each)
    return (centres[truth] + noise * rng.normal(size=(len(truth), width))).astype(np.float32), truth


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_planted_clusters_are_found_and_stable(count: int) -> None:
    features, truth = planted(count)
    clusters = find_clusters(features)
    assert clusters.count == count
    assert adjusted_rand_score(truth, clusters.labels) == 1
    assert clusters.stability == 1
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert clusters.silhouette == pytest.approx(silhouette_score(unit, truth), abs=1e-6)


def test_noise_is_less_stable_and_worse_separated_than_planted_clusters() -> None:
    noise = find_clusters(np.random.default_rng(0).normal(size=(150, 16)))
    assert noise.silhouette < 0.2
    assert noise.stability < 0.7


def test_the_same_seed_gives_the_same_clusters() -> None:
    features = np.random.default_rng(0).normal(size=(100, 8))
    first, second = find_clusters(features, seed=3), find_clusters(features, seed=3)
    assert (first.labels == second.labels).all()
    assert (first.count, first.silhouette, first.stability) == (second.count, second.silhouette, second.stability)


def test_lengths_of_embeddings_do_not_matter() -> None:
    features, truth = planted(3)
    lengths = np.random.default_rng(1).uniform(0.1, 10, (len(features), 1))
    assert adjusted_rand_score(truth, find_clusters(features * lengths).labels) == 1


def test_embeddings_that_are_one_point_are_one_cluster() -> None:
    clusters = find_clusters(np.ones((40, 8), np.float32))
    assert (clusters.count, set(clusters.labels), clusters.silhouette) == (1, {0}, 0)


@pytest.mark.parametrize("n", [3, 4, 6])
def test_a_handful_of_images_can_be_clustered(n: int) -> None:
    clusters = find_clusters(np.eye(n, 8) + 0.01)
    assert len(clusters.labels) == n
    assert 2 <= clusters.count < n


def test_a_single_outlier_among_thousands_is_no_crash() -> None:
    """A sample of the images, on which the silhouette is computed, may hold one cluster alone."""
    features = np.random.default_rng(0).normal(size=(2500, 3)) * 0.01 + 1
    features[0] = -1
    clusters = find_clusters(features)
    assert len(clusters.labels) == 2500
    assert -1 <= clusters.silhouette <= 1


def test_the_number_of_clusters_can_be_given() -> None:
    features, _ = planted(3)
    clusters = find_clusters(features, candidates=(5,))
    assert clusters.count == 5
    assert clusters.silhouette < find_clusters(features).silhouette
    assert find_clusters(features, candidates=(3,)).stability == 1


def test_more_clusters_than_images_are_no_crash() -> None:
    assert find_clusters(np.eye(4), candidates=(10,)).count == 1
