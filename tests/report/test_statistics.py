"""Intervals and tests against values known from elsewhere, worked out by hand, and by simulation."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from selfsup.evaluation.metrics import METRICS, strata
from selfsup.report.mcnemar import tango, tango_interval
from selfsup.report.statistics import holm, paired_test, score_interval, wilson


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
    found = score_interval(share(right, 10))
    assert (found.low, found.high) == pytest.approx(wilson(right / 10, 10, 1.959964), abs=1e-6)
    assert (found.seeds, found.units) == (1, 10)


def test_seeds_that_agree_do_not_make_the_interval_vanish():
    once, thrice = score_interval(share(90, 100)), score_interval(np.repeat(share(90, 100), 3, axis=0))
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.05)
    perfect = score_interval(np.ones((2, 100), bool))
    assert perfect.low < 0.97


def test_the_spread_of_the_seeds_widens_the_interval():
    alike = np.stack([np.roll(share(80, 100)[0], k) for k in (0, 50)])
    unlike = np.stack([share(70, 100)[0], share(90, 100)[0]])
    narrow, wide = score_interval(alike), score_interval(unlike)
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
    alone, grouped, few = score_interval(right), score_interval(right, groups), score_interval(share(30, 40))
    assert grouped.units == 40
    assert grouped.high - grouped.low > 1.8 * (alone.high - alone.low)
    assert grouped.high - grouped.low == pytest.approx(few.high - few.low, rel=0.06)


def test_groups_of_unequal_size_have_the_variance_of_leaving_out_each_in_turn():
    groups = np.repeat(np.arange(6), [2, 3, 5, 8, 13, 40])
    difference = np.array([0.9, -0.8, 0.7, -0.6, 0.5, 0.1])[groups] + np.resize([-0.1, 0.1], len(groups))
    left_out = np.array([difference[groups != group].mean() for group in range(6)])
    variance = 5 / 6 * ((left_out - difference.mean()) ** 2).sum()
    freedom = 1 / ((np.bincount(groups) / len(groups)) ** 2).sum() - 1
    assert variance > 1 / 8**2  # more than is assumed in any case
    found = paired_test(difference[None], np.zeros_like(difference)[None], groups)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(variance)
    assert found.interval.low == pytest.approx(difference.mean() - half)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(difference.mean()) / math.sqrt(variance), freedom))


@pytest.mark.parametrize(("seeds", "studies"), [(1, 300), (3, 200)])
def test_groups_of_unequal_size_show_a_difference_in_one_of_twenty_studies_at_most(seeds, studies):
    rng, claimed, covered = np.random.default_rng(0), 0, 0
    for _ in range(studies):
        sizes = np.maximum(1, np.round(np.exp(rng.normal(2.5, 1.5, 30)))).astype(int)
        groups = np.repeat(np.arange(30), sizes)
        first, second = (rng.random((seeds, len(groups))) < rng.beta(4, 1, 30)[groups] for _ in range(2))
        found = score_interval(first, groups)
        covered += found.low <= 0.8 <= found.high
        claimed += paired_test(first, second, groups).p_value < 0.05
    chance = 3 * math.sqrt(0.05 * 0.95 / studies)
    assert claimed / studies <= 0.05 + chance
    assert covered / studies >= 0.95 - chance


@given(st.integers(1, 4), st.integers(2, 30), st.integers(0, 2**32 - 1))
def test_an_interval_holds_the_mean_and_stays_within_zero_and_one(seeds, images, number):
    right = np.random.default_rng(number).random((seeds, images)) < 0.7
    found = score_interval(right)
    assert 0 <= found.low <= right.mean() <= found.high <= 1


# -- tests -------------------------------------------------------------------------------------


def test_mcnemar_by_hand():
    # 9 images only the first names rightly, 1 only the second: 2 * (1 + 10) / 2**10.
    first = rows("1" * 9 + "0" + "1" * 20 + "0" * 5)
    second = rows("0" * 9 + "1" + "1" * 20 + "0" * 5)
    test = paired_test(first, second)
    assert test.p_value == pytest.approx(22 / 1024)
    assert test.difference == pytest.approx(8 / 35)


def test_the_interval_of_one_seed_is_tangos_and_holds_0_where_the_exact_test_does_not_reject_it():
    # Fagerland, Lydersen and Laake (2014, Statistics in Medicine 33), airway hyper-responsiveness before and after a
    # transplantation: of 21 children 1 only before and 7 only after. Tango's interval: -0.517 to -0.026; exact p 0.070.
    before, after = rows("1" + "1" + "0" * 7 + "0" * 12), rows("1" + "0" + "1" * 7 + "0" * 12)
    assert tango_interval(1, 7, 21, 1.959964) == pytest.approx((-0.517, -0.026), abs=5e-4)
    test = paired_test(before, after)
    assert (test.interval.low, test.interval.high) == (pytest.approx(-0.517, abs=5e-4), 0.0)
    assert test.p_value == pytest.approx(0.0703, abs=1e-4)


@given(st.integers(0, 25), st.integers(0, 25), st.integers(1, 400))
def test_the_interval_of_one_seed_leaves_out_0_where_the_exact_test_rejects_it(only_first, only_second, alike):
    images = np.arange(only_first + only_second + alike)[None]
    test = paired_test(images >= only_second, (images < only_second) | (images >= only_second + only_first))
    assert (test.interval.low > 0 or test.interval.high < 0) == (test.p_value < 0.05)
    assert -1 <= test.interval.low <= test.difference <= test.interval.high <= 1


@pytest.mark.parametrize("difference", [-0.3, -0.01, 0.0, 0.05, 0.4])
def test_the_variance_under_a_difference_is_that_of_the_likeliest_shares(difference):
    only_first, only_second, images = 9, 4, 60

    def unlikelihood(share: float) -> float:  # of the images that the second alone names rightly
        rest = 1 - 2 * share - difference
        counts = np.array([only_first, only_second, images - only_first - only_second])
        return -float(counts @ np.log([share + difference, share, rest]))

    bounds = max(0.0, -difference) + 1e-9, (1 - difference) / 2 - 1e-9
    share_there = optimize.minimize_scalar(unlikelihood, bounds=bounds, method="bounded", options={"xatol": 1e-10}).x
    variance = images * (2 * share_there + difference - difference**2)
    expected = (only_first - only_second - images * difference) / math.sqrt(variance)
    assert tango(only_first, only_second, images, difference) == pytest.approx(expected, rel=1e-4)


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


@pytest.mark.parametrize(("seeds", "images"), [(2, 80), (3, 200)])
def test_families_of_comparisons_are_wrong_in_one_of_twenty_studies_at_most(seeds, images):
    """Two seeds may have one mean by chance, and a family of ten pairs finds it if any does."""
    rng = np.random.default_rng(0)
    studies, wrong = 120, 0
    for _ in range(studies):
        difficulty, luck = rng.normal(1.5, 1.5, images), rng.normal(0, 0.1, (5, seeds, 1))
        methods = difficulty + luck + rng.normal(0, 1, (5, seeds, images)) > 0
        wrong += min(holm([paired_test(one, other).p_value for one, other in combinations(methods, 2)])) < 0.05
    assert wrong / studies <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)


def test_seeds_of_one_mean_are_no_surer_than_their_images():
    first, second = rows("1100" * 20, "0011" * 20), np.zeros((2, 80), bool)  # half is right with either seed
    per_image = (first.astype(float) - second).mean(axis=0)
    residual = ((first - per_image) ** 2).sum() / 79 / 2 / 80
    half = math.sqrt(stats.t.ppf(0.975, 79) ** 2 * (residual + 1 / 82**2))
    assert paired_test(first, second).interval.low == pytest.approx(0.5 - half)


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
    found = [score_interval(draw_study(rng, seeds=seeds, images=200, seed_spread=0.2)[0]) for _ in range(300)]
    covered = np.mean([interval.low <= truth <= interval.high for interval in found])
    assert covered >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 300)


# -- classes that count the same ---------------------------------------------------------------

#: Test images of the classes: those of 780 cut-out pictures of 16 classes, and of a common and a rare one.
UNEQUAL = (1, 1, 1, 2, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 48)


def draw_probabilities(rng, true, *, signal=2.5, seeds=1, seed_spread=0.0):
    """Probabilities of two methods that are equally good: images are hard for both."""
    classes = int(true.max()) + 1
    shared = rng.normal(0, 1, (len(true), classes))

    def method() -> np.ndarray:
        scores = shared + rng.normal(0, 1, (seeds, len(true), classes))
        scores[:, np.arange(len(true)), true] += signal + rng.normal(0, seed_spread, (seeds, 1))
        return scores

    return method(), method()


def contributions(name: str, true: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return np.stack([METRICS[name].contributions(true, seed.argmax(axis=1), seed) for seed in scores])


def test_balanced_accuracy_has_the_variance_of_a_stratified_sample():
    # Recall 3 of 4 and 10 of 20: squared standard errors 3/16/3 and 1/4/19, a quarter of their sum.
    true = np.repeat([0, 1], [4, 20])
    right = np.concatenate([np.arange(4) < 3, np.arange(20) < 10])
    table = METRICS["balanced-accuracy"].contributions(true, np.where(right, true, 1 - true), np.empty((0, 0)))[None]
    variances = np.array([3 / 16 / 3, 1 / 4 / 19]) / 4
    freedom = variances.sum() ** 2 / (variances**2 / [3, 19]).sum()
    test = paired_test(table, np.zeros_like(table), None, true)
    assert test.difference == pytest.approx((0.75 + 0.5) / 2)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(variances.sum())
    assert test.interval.low == pytest.approx(test.difference - half)


def test_the_standard_error_of_the_auroc_is_delongs():
    # DeLong, DeLong and Clarke-Pearson (1988), equation 5, of one curve.
    rng = np.random.default_rng(0)
    true = np.repeat([0, 1], [30, 50])
    score = rng.normal(true, 1.0)
    placed = score[true == 1][:, None] > score[true == 0]
    variance = placed.mean(axis=1).var(ddof=1) / 50 + placed.mean(axis=0).var(ddof=1) / 30
    table = METRICS["auroc"].contributions(true, true, np.stack([-score, score], axis=1))[None]
    found = score_interval(table, None, true, 3**-0.5)
    # Wilson's interval of as many images as give that standard error.
    images = placed.mean() * (1 - placed.mean()) / variance
    low, high = wilson(placed.mean(), images, 1.96)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)


@pytest.mark.parametrize("name", ["balanced-accuracy", "macro-f1"])
def test_the_interval_is_as_wide_as_a_stratified_bootstraps_where_classes_are_large(name):
    rng = np.random.default_rng(3)
    true = np.repeat(np.arange(3), [40, 60, 200])
    scores = draw_probabilities(rng, true)[0]
    drawn = []
    for _ in range(400):
        again = np.concatenate([rng.choice(np.flatnonzero(true == c), (true == c).sum()) for c in range(3)])
        drawn.append(METRICS[name].value(true[again], scores[0, again]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    found = score_interval(contributions(name, true, scores), None, true)
    assert found.high - found.low == pytest.approx(high - low, rel=0.12)


@pytest.mark.parametrize("name", ["balanced-accuracy", "macro-f1", "auroc"])
@pytest.mark.parametrize(
    ("counts", "seeds"), [(UNEQUAL, 1), ((20,) * 5, 1), ((3, 150), 1), ((20,) * 5, 3)], ids=["16", "5", "rare", "seeds"]
)
def test_of_no_metric_a_difference_is_claimed_more_often_than_it_may(name, counts, seeds):
    rng = np.random.default_rng(1)
    true, metric, studies, claimed = np.repeat(np.arange(len(counts)), counts), METRICS[name], 200, 0
    for _ in range(studies):
        pair = draw_probabilities(rng, true, seeds=seeds, seed_spread=0.2 * (seeds > 1))
        one, other = (contributions(name, true, scores) for scores in pair)
        claimed += paired_test(one, other, None, true, metric.step).p_value < 0.05
    assert claimed / studies <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)


@pytest.mark.parametrize("signal", [1.5, 4.5])
@pytest.mark.parametrize("name", ["balanced-accuracy", "macro-f1", "auroc"])
def test_intervals_of_every_metric_hold_its_value_nineteen_times_of_twenty(name, signal):
    rng = np.random.default_rng(2)
    counts = np.array([5, 10, 20, 80])
    many = np.repeat(np.arange(4), 50 * counts)  # the same shares of the classes
    truth = METRICS[name].value(many, draw_probabilities(rng, many, signal=signal)[0][0])
    true, covered, studies = np.repeat(np.arange(4), counts), 0, 200
    for _ in range(studies):
        table = contributions(name, true, draw_probabilities(rng, true, signal=signal)[0])
        found = score_interval(table, None, true, METRICS[name].step)
        covered += found.low <= truth <= found.high
    assert covered / studies >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / studies)


@pytest.mark.parametrize("name", ["balanced-accuracy", "macro-f1"])
@pytest.mark.parametrize("rare", [5, 20])
def test_intervals_hold_the_value_where_one_class_is_rare_and_hard(name, rare):
    rng, metric, recall = np.random.default_rng(3), METRICS[name], np.array([0.99] * 9 + [0.5])

    def draw(scale: int) -> tuple[np.ndarray, np.ndarray]:
        true = np.repeat(np.arange(10), scale * np.array([200] * 9 + [rare]))
        predicted = np.where(rng.random(len(true)) < recall[true], true, (true + 1) % 10)
        return true, metric.contributions(true, predicted, np.empty((0, 0)))

    truth, studies = draw(200)[1].mean(), 150
    found = [score_interval(table[None], None, true) for true, table in (draw(1) for _ in range(studies))]
    covered = np.mean([interval.low <= truth <= interval.high for interval in found])
    assert covered >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / studies)


def draw_labels(rng: np.random.Generator, images: int, classifiers: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of six labels images have, half of these on 2 % of the images, and classifiers that know something."""
    true = rng.random((images, 6)) < [0.02, 0.02, 0.02, 0.5, 0.5, 0.5]
    true = true[true.any(axis=1)]
    scores = rng.normal(0, 1, true.shape) + rng.normal(0, 1, (classifiers, *true.shape)) + 2 * true - 1
    return true, 1 / (1 + np.exp(-scores))


@pytest.mark.parametrize("name", ["map", "auroc"])
def test_rare_labels_make_intervals_wider_and_no_difference_likelier(name):
    rng, metric, studies, covered, claimed = np.random.default_rng(4), METRICS[name], 120, 0, 0
    many, (probabilities,) = draw_labels(rng, 40_000, 1)
    truth = metric.value(many, probabilities)
    for _ in range(studies):
        true, pair = draw_labels(rng, 150, 2)
        one, other = (metric.contributions(true, one >= 0.5, one)[None] for one in pair)
        found = score_interval(one, None, strata(true), metric.step)
        covered += found.low <= truth <= found.high
        claimed += paired_test(one, other, None, strata(true), metric.step).p_value < 0.05
    chance = 3 * math.sqrt(0.05 * 0.95 / studies)
    assert covered / studies >= 0.95 - chance
    assert claimed / studies <= 0.05 + chance


def test_small_classes_do_not_make_the_interval_of_a_good_score_absurd():
    true = np.repeat(np.arange(10), [34, 18, 12, 8, 6, 4, 3, 2, 2, 2])
    right = np.arange(len(true)) != 5  # all but one
    table = METRICS["balanced-accuracy"].contributions(true, np.where(right, true, 1), np.empty((0, 0)))[None]
    found = score_interval(table, None, true)
    # At worst that of as many images as the classes are worth: 10 classes of their harmonic mean.
    worth = 100 / sum(1 / np.bincount(true))
    assert found.low >= wilson(table.mean(), worth, stats.t.ppf(0.975, 1))[0]
    assert found.high - found.low < 0.25


def test_groups_of_one_class_are_a_sample_of_that_class():
    true = np.repeat([0, 1], [30, 90])
    right = np.repeat(np.arange(40) % 3 > 0, 3)  # the images of a group share their fate
    table = METRICS["balanced-accuracy"].contributions(true, np.where(right, true, 1 - true), np.empty((0, 0)))[None]
    grouped = score_interval(table, np.repeat(np.arange(40), 3), true)
    of_groups = METRICS["balanced-accuracy"].contributions(
        true[::3], np.where(right, true, 1 - true)[::3], np.empty((0, 0))
    )[None]
    few = score_interval(of_groups, None, true[::3])
    assert (grouped.low, grouped.high) == pytest.approx((few.low, few.high))


# -- equivalence -------------------------------------------------------------------------------


def test_within_a_margin_by_hand():
    # 300 images that both name alike. Were 3 of them, a point, right by one alone, their number would have the variance
    # 300 * 0.01 * 0.99.
    same = share(250, 300)
    assert paired_test(same, same, margin=0.01).p_within == pytest.approx(stats.norm.sf(3 / math.sqrt(300 * 0.0099)))
    assert paired_test(same, same).p_within is None


def test_the_claim_is_that_the_interval_of_90_percent_lies_inside():
    rng = np.random.default_rng(4)
    first, second = rng.random((3, 500)) < 0.8, rng.random((3, 500)) < 0.8
    for margin in np.linspace(0.01, 0.3, 30):
        test = paired_test(first, second, margin=margin)
        assert (test.p_within < 0.05) == (stats_of_90_percent(first, second, margin) < margin)


def stats_of_90_percent(first: np.ndarray, second: np.ndarray, margin: float) -> float:
    """The farther end of the interval, by the two-way analysis of variance written out; no less than at the margin."""
    table = first.astype(float) - second
    seeds, images = table.shape
    of_images, of_seeds, mean = table.mean(axis=0), table.mean(axis=1), table.mean()
    residual = ((table - of_seeds[:, None] - of_images + mean) ** 2).sum() / ((seeds - 1) * (images - 1))
    over_images = max(of_images.var(ddof=1) / images - residual / seeds / images, 1 / (images + 2) ** 2)
    over_images = max(over_images, margin * (1 - margin) / images)
    over_seeds = of_seeds.var(ddof=1) / seeds
    quantiles = stats.t.ppf(0.95, [images - 1, seeds - 1])
    return abs(mean) + math.sqrt(quantiles[0] ** 2 * over_images + quantiles[1] ** 2 * over_seeds)


@pytest.mark.parametrize(("seeds", "seed_spread"), [(1, 0.0), (3, 0.1)])
def test_a_difference_as_large_as_the_margin_is_called_smaller_in_one_of_twenty_studies_at_most(seeds, seed_spread):
    rng = np.random.default_rng(5)
    width = math.sqrt(1.5**2 + 1 + seed_spread**2)
    margin = float(stats.norm.cdf(1.9 / width) - stats.norm.cdf(1.5 / width))
    studies = 400
    claimed = 0
    for _ in range(studies):
        one, other = draw_study(rng, seeds=seeds, images=400, effect=0.4, seed_spread=seed_spread)
        claimed += paired_test(one, other, margin=margin).p_within < 0.05
    assert claimed / studies <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)


@pytest.mark.parametrize("images", [170, 300, 500, 1000, 2000])
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_point_of_few_images_is_called_smaller_in_one_of_twenty_studies_at_most(images, seeds):
    # One point of the images is named rightly by the second alone, with every seed; how often k are drawn is binomial.
    claimed = 0.0
    for k in range(3 * images // 100 + 10):
        first, second = (np.repeat(share(right, images), seeds, axis=0) for right in (images - k, images))
        test = paired_test(first, second, margin=0.01)
        claimed += stats.binom.pmf(k, images, 0.01) * (test.p_within < 0.05)
    assert claimed <= 0.05


def test_equal_methods_are_shown_to_be_close_with_many_images_and_not_with_few():
    rng = np.random.default_rng(6)

    def shown(images: int) -> float:
        tests = (paired_test(*draw_study(rng, seeds=1, images=images), margin=0.05) for _ in range(100))
        return float(np.mean([test.p_within < 0.05 for test in tests]))

    assert shown(2000) > 0.95
    assert shown(100) < 0.3


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
