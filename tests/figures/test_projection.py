"""The layout of the map: faithful, repeatable, and never in the way."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from selfsup.figures.projection import map_rows, principal_components, project


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    data = load_digits()
    return data.data[:400].astype(np.float32), data.target[:400]


@pytest.mark.parametrize("n", range(9))
def test_any_number_of_images_has_a_map(n, digits):
    points, rows = project(digits[0][:n], seed=0)
    assert points.shape == (n, 2)
    assert points.dtype == np.float32
    assert np.isfinite(points).all()
    assert rows.tolist() == list(range(n))


@pytest.mark.parametrize(
    "features",
    [np.ones((40, 8)), np.zeros((5, 3)), np.arange(30.0)[:, None], np.full((10, 4), np.nan)],
    ids=["collapsed", "few and collapsed", "one dimension", "not a number"],
)
def test_degenerate_embeddings_are_no_error(features):
    points, _ = project(features, seed=0)
    assert np.isfinite(points).all()


def test_overflown_half_precision_is_no_error():
    features = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float16)
    features[3, 2] = np.inf
    assert np.isfinite(project(features, seed=0)[0]).all()


def test_the_map_keeps_alike_images_together(digits):
    points, rows = project(digits[0], seed=0)
    neighbours = KNeighborsClassifier(5).fit(points[::2], digits[1][rows][::2])
    assert neighbours.score(points[1::2], digits[1][rows][1::2]) > 0.9


def test_the_map_is_the_same_every_time(digits):
    first, second = project(digits[0], seed=1)[0], project(digits[0], seed=1)[0]
    np.testing.assert_array_equal(first, second)


def test_a_large_set_is_thinned_by_the_seed(digits):
    points, rows = project(digits[0], seed=3, max_points=50)
    assert len(points) == 50
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, map_rows(len(digits[0]), 3, 50))
    assert not np.array_equal(rows, map_rows(len(digits[0]), 4, 50))


def test_principal_components_are_those_of_the_covariance(digits):
    features = digits[0]
    variances, axes = np.linalg.eigh(np.cov(features.astype(float), rowvar=False))
    expected = (features - features.mean(axis=0)) @ axes[:, [-1, -2]]
    found = principal_components(features)
    np.testing.assert_allclose(np.abs(found.points), np.abs(expected), atol=0.2)
    assert found.explained == pytest.approx(variances[-2:].sum() / variances.sum(), abs=1e-3)
    assert (principal_components(features).points == found.points).all()


@pytest.mark.parametrize("features", [np.zeros((0, 4)), np.ones((1, 4)), np.ones((9, 4)), np.arange(9.0)[:, None]])
def test_nothing_to_lay_out_has_no_components(features):
    assert principal_components(features) is None
