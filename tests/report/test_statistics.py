"""Intervals and tests against values known from elsewhere or worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfsup.report.statistics import holm, over_seeds, paired_test, wilson


def answers(*right: int) -> np.ndarray:
    return np.array(right, bool)


def test_wilson_interval_of_a_known_case():
    # 8 of 10; Brown, Cai and DasGupta (2001) formula, also statsmodels' proportion_confint.
    interval = wilson(0.8, 10)
    assert (interval.low, interval.high) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)


def test_wilson_interval_ends_within_zero_and_one():
    assert wilson(1.0, 20).high == 1.0
    assert wilson(1.0, 20).low == pytest.approx(0.8388748, abs=1e-6)
    assert wilson(0.0, 20).low == 0.0


def test_interval_over_seeds_by_hand():
    # mean 0.8, sd 0.1, t(0.975, 2) = 4.30265: half width 4.30265 * 0.1 / sqrt(3) = 0.248414.
    interval = over_seeds([0.7, 0.8, 0.9])
    assert (interval.low, interval.high) == pytest.approx((0.551586, 1.0), abs=1e-5)
    assert (interval.kind, interval.count) == ("t", 3)


def test_mcnemar_by_hand():
    # 9 images only the first names rightly, 1 only the second: 2 * (1 + 10) / 2**10.
    first = answers(*[1] * 9, 0, *[1] * 20, *[0] * 5)
    second = answers(*[0] * 9, 1, *[1] * 20, *[0] * 5)
    test = paired_test([first], [second])
    assert (test.wins, test.losses) == (9, 1)
    assert test.p_value == pytest.approx(22 / 1024)


def test_classifiers_that_agree_are_not_told_apart():
    same = answers(1, 0, 1)
    test = paired_test([same], [same])
    assert test.p_value == 1.0
    assert not test.agree


def test_repeating_a_seed_adds_no_evidence():
    first, second = answers(1, 1, 1, 1, 0), answers(0, 0, 0, 1, 1)
    once, often = paired_test([first], [second]), paired_test([first] * 5, [second] * 5)
    assert (once.wins, once.losses, once.p_value) == (often.wins, often.losses, often.p_value)


def test_seeds_that_contradict_each_other_do_not_agree():
    many, few = answers(*[1] * 12), answers(*[0] * 12)
    mixed = paired_test([many, many, few], [few, few, many])
    assert mixed.p_value < 0.001
    assert not mixed.agree


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
