"""The decay of a spectrum on embeddings whose eigenvalues are known beforehand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from selfsup.evaluation.evaluators.structure import alpha_req


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
