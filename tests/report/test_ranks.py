"""Ranks over data sets against scipy, and against the worked example of Demšar (2006)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from selfsup.report.ranks import rank_methods


def table(datasets: int, methods: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((datasets, methods))


def test_the_critical_difference_of_demsars_example():
    # Four classifiers on 14 data sets: 2.569 * sqrt(4 * 5 / (6 * 14)) (section 3.2.2).
    assert rank_methods(table(14, 4), "abcd").critical_difference == pytest.approx(1.25, abs=0.005)


def test_friedmans_test_is_scipys_in_iman_and_davenports_form():
    accuracies = table(14, 4)
    chi2 = stats.friedmanchisquare(*accuracies.T).statistic
    f = 13 * chi2 / (14 * 3 - chi2)
    assert rank_methods(accuracies, "abcd").p_value == pytest.approx(stats.f.sf(f, 3, 39))


def test_ties_share_their_ranks_and_are_allowed_for():
    accuracies = np.round(table(20, 3), 1)
    chi2 = stats.friedmanchisquare(*accuracies.T).statistic
    found = rank_methods(accuracies, "abc")
    assert sum(found.average) == pytest.approx(6)
    assert found.p_value == pytest.approx(stats.f.sf(19 * chi2 / (20 * 2 - chi2), 2, 38))


def test_methods_come_by_rank_and_those_within_the_difference_are_joined():
    accuracies = np.array([[0.9, 0.8, 0.2, 0.1]] * 15)
    accuracies[::2, :2] = [0.8, 0.9]
    accuracies[::2, 2:] = [0.1, 0.2]
    found = rank_methods(accuracies, ("a", "b", "c", "d"))
    assert found.methods[:2] == ("b", "a")
    assert found.critical_difference == pytest.approx(1.21, abs=0.01)
    assert found.groups == ((0, 1), (2, 3))
    assert found.p_value < 0.001


def test_equal_methods_do_not_differ():
    found = rank_methods(np.full((5, 3), 0.5), "abc")
    assert found.average == (2.0, 2.0, 2.0)
    assert found.p_value == 1.0
    assert found.groups == ((0, 2),)


def test_random_tables_rarely_differ():
    claimed = [rank_methods(table(10, 4, seed), "abcd").p_value < 0.05 for seed in range(400)]
    assert np.mean(claimed) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize("shape", [(2, 4), (5, 1)])
def test_too_few_cannot_be_ranked(shape):
    with pytest.raises(ValueError, match="at least 3 and 2 are needed"):
        rank_methods(table(*shape), "abcd"[: shape[1]])
