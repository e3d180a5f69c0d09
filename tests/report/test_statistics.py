"""Intervals and tests against values known from elsewhere, worked out by hand, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from selfsup.report.statistics import accuracy_interval, holm, paired_test, wilson


def rows(*rights: str) -> np.ndarray:
    """One row per seed, ``1`` where it is right."""
    return np.array([[c == "1" for c in right] for right in rights])


def share(right: int, images: int) -> np.ndarray:
    return np.arange(images)[None] < right


# -- intervals ---------------------------------------------------------------------------------


def test_wilson_interval_of_a_known_case():
    # 8 of 10; Brown, Cai and DasGupta (2001) formula, also statsmodels' proportion_confint.
    assert wilson(0.8, 10, 1.959964) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)


@pytest.mark.parametrize("right", [0, 1, 8, 10])
def test_one_seed_gets_wilsons_interval(right):
    found = accuracy_interval(share(right, 10))
    assert (found.low, found.high) == pytest.approx(wilson(right / 10, 10, 1.959964), abs=1e-6)
    assert (found.seeds, found.units) == (1, 10)


def test_seeds_that_agree_do_not_make_the_interval_vanish():
    once, thrice = accuracy_interval(share(90, 100)), accuracy_interval(np.repeat(share(90, 100), 3, axis=0))
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.05)
    perfect = accuracy_interval(np.ones((2, 100), bool))
    assert perfect.low < 0.97


def test_the_spread_of_the_seeds_widens_the_interval():
    alike = np.stack([np.roll(share(80, 100)[0], k) for k in (0, 50)])
    unlike = np.stack([share(70, 100)[0], share(90, 100)[0]])
    narrow, wide = accuracy_interval(alike), accuracy_interval(unlike)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_two_parts_of_the_variance_by_hand():
    # Seeds right on 2 and 4 of 4 images: means 0.5 and 1, mean 0.75, variance over seeds 0.125.
    # Image means 1, 1, 0.5, 0.5: variance 1/12. Residuals 0.25 each: 0.5 / 3.
    found = paired_test(rows("1100", "1111"), rows("0000", "0000"))
    over_images = 1 / 12 / 4 - 0.5 / 3 / 8
    half = math.sqrt(stats.t.ppf(0.975, 1) ** 2 * 0.125 / 2 + stats.t.ppf(0.975, 3) ** 2 * max(over_images, 1 / 6**2))
    assert found.difference == pytest.approx(0.75)
    assert found.interval.low == pytest.approx(max(-1, 0.75 - half))
    assert found.interval.high == pytest.approx(min(1, 0.75 + half))


def test_images_of_a_group_count_as_one():
    right = np.repeat(share(30, 40), 5, axis=1)
    groups = np.repeat(np.arange(40), 5)
    alone, grouped, few = accuracy_interval(right), accuracy_interval(right, groups), accuracy_interval(share(30, 40))
    assert grouped.units == 40
    assert grouped.high - grouped.low > 1.8 * (alone.high - alone.low)
    assert grouped.high - grouped.low == pytest.approx(few.high - few.low, rel=0.06)


@given(st.integers(1, 4), st.integers(2, 30), st.integers(0, 2**32 - 1))
def test_an_interval_holds_the_mean_and_stays_within_zero_and_one(seeds, images, number):
    right = np.random.default_rng(number).random((seeds, images)) < 0.7
    found = accuracy_interval(right)
    assert 0 <= found.low <= right.mean() <= found.high <= 1


# -- tests -------------------------------------------------------------------------------------


def test_mcnemar_by_hand():
    # 9 images only the first names rightly, 1 only the second: 2 * (1 + 10) / 2**10.
    first = rows("1" * 9 + "0" + "1" * 20 + "0" * 5)
    second = rows("0" * 9 + "1" + "1" * 20 + "0" * 5)
    test = paired_test(first, second)
    assert test.p_value == pytest.approx(22 / 1024)
    assert test.difference == pytest.approx(8 / 35)


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_classifiers_that_agree_are_not_told_apart(seeds):
    same = np.repeat(rows("101"), seeds, axis=0)
    test = paired_test(same, same)
    assert test.p_value == 1.0
    assert test.interval.low < 0 < test.interval.high


def test_the_p_value_is_where_the_interval_reaches_zero():
    rng = np.random.default_rng(0)
    first, second = rng.random((3, 200)) < 0.9, rng.random((3, 200)) < 0.8
    test = paired_test(first, second)
    significant = test.interval.low > 0 or test.interval.high < 0
    assert (test.p_value < 0.05) == significant


def test_seeds_that_contradict_each_other_show_no_difference():
    many, few = "1" * 12, "0" * 12
    assert paired_test(rows(many, many, few), rows(few, few, many)).p_value > 0.5


def test_swapping_the_two_swaps_the_sign():
    rng = np.random.default_rng(1)
    first, second = rng.random((3, 50)) < 0.9, rng.random((3, 50)) < 0.7
    one, other = paired_test(first, second), paired_test(second, first)
    assert one.difference == -other.difference
    assert one.p_value == other.p_value
    assert one.interval.low == pytest.approx(-other.interval.high)


def draw_study(rng, *, seeds, images, effect=0.0, seed_spread=0.0):
    """Two methods: images are hard for both, seeds are lucky or not, and either has images of its own."""
    difficulty = rng.normal(0, 1.5, images)

    def method(bonus: float) -> np.ndarray:
        luck = rng.normal(0, seed_spread, (seeds, 1))
        return 1.5 + bonus + difficulty + luck + rng.normal(0, 1, (seeds, images)) > 0

    return method(effect), method(0.0)


@pytest.mark.parametrize(
    ("seeds", "images", "seed_spread"),
    [(1, 300, 0.0), (2, 60, 0.0), (2, 300, 0.3), (3, 300, 0.1), (5, 60, 0.3), (5, 300, 0.0)],
)
def test_no_difference_is_claimed_in_one_of_twenty_studies_at_most(seeds, images, seed_spread):
    rng = np.random.default_rng(seeds * images)
    studies = 400
    claimed = sum(
        paired_test(*draw_study(rng, seeds=seeds, images=images, seed_spread=seed_spread)).p_value < 0.05
        for _ in range(studies)
    )
    # Three standard errors of a rate of 5 %.
    assert claimed / studies <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)


def test_families_of_comparisons_are_wrong_in_one_of_twenty_studies_at_most():
    rng = np.random.default_rng(0)
    studies, wrong = 300, 0
    for _ in range(studies):
        best, *others = (method for _ in range(2) for method in draw_study(rng, seeds=3, images=200, seed_spread=0.1))
        wrong += min(holm([paired_test(best, other).p_value for other in others])) < 0.05
    assert wrong / studies <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)


def test_a_planted_difference_is_found_and_more_often_with_more_seeds():
    rng = np.random.default_rng(1)

    def power(seeds: int) -> float:
        tests = (paired_test(*draw_study(rng, seeds=seeds, images=300, effect=0.4)) for _ in range(150))
        return float(np.mean([test.p_value < 0.05 and test.difference > 0 for test in tests]))

    one, five = power(1), power(5)
    assert one > 0.35
    assert five > 0.9


@pytest.mark.parametrize("seeds", [2, 4])
def test_intervals_hold_the_truth_nineteen_times_of_twenty(seeds):
    rng = np.random.default_rng(2)
    truth = float(stats.norm.cdf(1.5 / math.sqrt(1.5**2 + 1 + 0.2**2)))
    found = [accuracy_interval(draw_study(rng, seeds=seeds, images=200, seed_spread=0.2)[0]) for _ in range(300)]
    covered = np.mean([interval.low <= truth <= interval.high for interval in found])
    assert covered >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 300)


def test_holm_by_hand():
    # Sorted 0.01, 0.03, 0.04: 3 * 0.01, 2 * 0.03, and the last no smaller than the one before.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_raw_and_bonferroni(p_values):
    for raw, adjusted in zip(p_values, holm(p_values), strict=True):
        assert raw <= adjusted <= 1
    smallest = int(np.argmin(p_values))
    assert holm(p_values)[smallest] == pytest.approx(min(1, len(p_values) * min(p_values)))
