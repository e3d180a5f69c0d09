"""Agreement of label-free measures with accuracy, on tables whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from selfsup.evaluation.agreement import agreements, rank_correlation

ACCURACY = [0.2, 0.5, 0.9, 0.7]
RATES = [0.001, 0.01, 0.1, 1.0]


def table(**columns: object) -> pd.DataFrame:
    """Four cells of one method that differ in their learning rate."""
    rows = {"method": "moco", "backbone": "net", "augmentation": "weak", "lr": RATES, "per_class": "all", "seed": 0,
            "status": "done", "val_accuracy": ACCURACY, "test_accuracy": ACCURACY}  # fmt: skip
    return pd.DataFrame({**rows, **columns})


def test_rank_correlation_is_spearmans_with_the_interval_of_bonett_and_wright() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=30)
    b = np.exp(a + rng.normal(size=30))
    found = rank_correlation(a, b)
    # Spearman's rho is Pearson's correlation of the ranks.
    rho = np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1]
    half = 1.959964 * math.sqrt((1 + rho**2 / 2) / 27)
    assert found.rho == pytest.approx(rho)
    assert found.low == pytest.approx(math.tanh(math.atanh(rho) - half), abs=1e-6)
    assert found.high == pytest.approx(math.tanh(math.atanh(rho) + half), abs=1e-6)
    assert found.count == 30


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Two normal variables of correlation r have Spearman's rho = 6/pi arcsin(r/2)."""
    r, rng = 0.6, np.random.default_rng(1)
    truth = 6 / math.pi * math.asin(r / 2)
    hits = 0
    for _ in range(400):
        a, b = rng.multivariate_normal([0, 0], [[1, r], [r, 1]], size=40).T
        found = rank_correlation(a, b)
        hits += found.low <= truth <= found.high
    assert 0.92 < hits / 400 < 0.98


@pytest.mark.parametrize("n", [4, 5, 8])
def test_of_few_pairs_too(n: int) -> None:
    r, rng = 0.9, np.random.default_rng(1)
    truth = 6 / math.pi * math.asin(r / 2)
    hits = 0
    for _ in range(200):
        found = rank_correlation(*rng.multivariate_normal([0, 0], [[1, r], [r, 1]], size=n).T)
        hits += found.low <= truth <= found.high
    assert hits / 200 > 0.92


def test_a_perfect_order_has_the_interval_of_the_next_possible_one_and_missing_pairs_do_not_count() -> None:
    found = rank_correlation([1, 2, 3, 4, 5, np.nan], [1, 4, 9, 16, 25, 0])
    next_to = rank_correlation([1, 2, 3, 4, 5], [1, 4, 9, 25, 16])
    assert (found.rho, found.high, found.low) == pytest.approx((1, 1, next_to.low))
    assert found.count == 5
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]).rho == pytest.approx(-1)


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0], [1.0, 1.0, 1.0, 1.0], []])
def test_too_few_or_unvarying_values_have_no_correlation(values: list[float]) -> None:
    found = rank_correlation(values, np.arange(len(values)))
    assert math.isnan(found.rho)
    assert math.isnan(found.low)
    assert found.count == len(values)


@pytest.mark.parametrize(
    ("measure", "best_first"),
    [
        ("effective_rank", [90, 50, 20, 10]),
        ("lidar", [90, 50, 20, 10]),
        ("alignment", [0.1, 0.2, 0.5, 0.9]),
        ("uniformity", [-3.5, -3, -2, -1]),
        ("alpha_req", [1.01, 0.9, 1.5, 3]),  # nearest to 1
        ("silhouette", [0.5, 0.4, 0.1, -0.1]),
    ],
)
def test_a_measure_that_follows_accuracy_agrees_and_costs_nothing(measure: str, best_first: list[float]) -> None:
    order = np.argsort(np.argsort(-np.array(ACCURACY)))
    (found,) = agreements(table(**{measure: np.array(best_first, float)[order]}))
    assert found.measure == measure
    assert found.correlation.rho == pytest.approx(1)
    assert (found.regret, found.choices) == (0, 1)


def test_regret_is_what_the_measures_choice_loses_on_the_test_images() -> None:
    (found,) = agreements(table(effective_rank=[10.0, 90.0, 20.0, 30.0]))
    assert found.regret == pytest.approx(0.9 - 0.5)
    # Against the choice by validation, which may itself be a bad one.
    (lucky,) = agreements(table(val_accuracy=[0.9, 0.1, 0.1, 0.1], effective_rank=[1.0, 2.0, 90.0, 3.0]))
    assert lucky.regret == pytest.approx(0.2 - 0.9)


def test_every_group_of_rates_is_a_choice() -> None:
    both = pd.concat([table(effective_rank=[1.0, 2.0, 4.0, 3.0]), table(seed=1, effective_rank=[4.0, 3.0, 2.0, 1.0])])
    (found,) = agreements(both)
    assert found.choices == 2
    assert found.regret == pytest.approx((0 + 0.7) / 2)


def test_settings_count_once_however_often_they_are_repeated() -> None:
    measured = np.array([1.0, 2.0, 3.0, 4.0])
    (once,) = agreements(table(effective_rank=measured))
    repeated = [
        table(effective_rank=measured + seed, seed=seed, per_class=size, test_accuracy=np.array(ACCURACY) - lost)
        for seed in (0, 1)
        for size, lost in (("5", 0.15), ("20", 0.05), ("all", 0.0))
    ]
    (found,) = agreements(pd.concat(repeated))
    assert found.correlation == once.correlation
    # One that has failed with all images is not taken for a bad one because the others are of few.
    without = pd.concat([*repeated[:2], repeated[2][:2], repeated[2][3:]])
    (found,) = agreements(without[without["seed"] == 0])
    assert found.correlation.rho == pytest.approx(once.correlation.rho)


def test_cells_that_are_not_done_or_never_trained_have_no_say() -> None:
    known = table(effective_rank=[1.0, 2.0, 4.0, 3.0])
    failed = table(status="collapsed", effective_rank=[9.0, 8.0, 7.0, 6.0])
    frozen = table(method="frozen", lr=np.nan, augmentation=None, effective_rank=[9.0, 8.0, 7.0, 6.0])
    assert agreements(pd.concat([known, failed, frozen])) == agreements(known)


def test_without_accuracies_or_measures_there_is_nothing_to_agree() -> None:
    assert agreements(table()) == []
    assert agreements(table(effective_rank=np.nan)) == []
    assert agreements(table(effective_rank=[1.0, 2, 3, 4], test_accuracy=np.nan)) == []
