"""Intervals and paired tests for accuracies and other scores over test images and trainings, as pure functions.

A study repeats a training with several seeds and evaluates each on the same test images, so an
accuracy is the mean of a table: seeds by images, right or wrong; and any other metric that of what
each image contributes to it. Both are samples: other seeds and other images would have given another
mean. The two-way analysis of variance with both factors random, as in radiology's studies of many
readers and many cases (Dorfman, Berbaum and Metz, 1992), gives a part of the variance to each, and
Howe's rule (1974, Journal of the American Statistical Association 69) joins the two into one
interval, each part with its own degrees of freedom. Images that belong together (a patient, a plant)
count as one unit.

With one seed only the images vary, and nothing is known of other trainings. With two, little is:
Student's factor is 12.7, and falls to 4.3 with three and 2.8 with five.

Where every class counts the same, each is a sample of its own, however small: the variance over the
images is the sum of those within the classes, as for stratified samples (Cochran 1977, Sampling
techniques, sections 5.3 and 5.4), with Satterthwaite's degrees of freedom; and no class, however few
its images, passes for one that is known exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from selfsup.report.mcnemar import mcnemar, tango, tango_interval

CONFIDENCE = 0.95

#: Seeds by images: where the prediction is right, or what each image contributes to a score.
Table = NDArray[np.bool_] | NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A 95 % interval of a mean score, or of a difference of two.

    Attributes
    ----------
    low, high : float
        Its ends: within 0 to 1 for a score, -1 to 1 for a difference.
    seeds : int
        Trainings behind it; with one, it is over the test images alone.
    units : int
        Test images behind it, or groups of them.
    """

    low: float
    high: float
    seeds: int
    units: int


@dataclass(frozen=True)
class PairedTest:
    """Two classifiers on the same test images, and trained with the same seeds.

    Attributes
    ----------
    difference : float
        Mean score of the first less that of the second.
    interval : Interval
        95 % interval of the difference.
    p_value : float
        Two-sided, of no difference.
    p_within : float or None
        Of a difference as large as the margin or larger, in either direction; None without a margin.
    """

    difference: float
    interval: Interval
    p_value: float
    p_within: float | None = None


@dataclass(frozen=True)
class Mean:
    """The mean of a table, and how far it may be from that of all seeds and images.

    `unit_variance` counts what is assumed of classes whose images are alike; `seen_variance` only what all classes
    show, and is None without classes.
    """

    mean: float
    seeds: int
    units: int
    seed_variance: float
    unit_variance: float
    unit_freedom: float
    effective_units: float
    seen_variance: float | None = None
    nested: bool = False

    def half_width(self, alpha: float = 1 - CONFIDENCE) -> float:
        """Half of the interval that misses with probability `alpha` (Howe, 1974).

        Where units are `nested` in the seeds, the variance of the seeds has that of the units in it.
        """
        over_units = stats.t.isf(alpha / 2, self.unit_freedom) ** 2 * self.unit_variance
        over_seeds = stats.t.isf(alpha / 2, self.seeds - 1) ** 2 * self.seed_variance if self.seeds > 1 else 0.0
        return math.sqrt(max(over_units, over_seeds) if self.nested else over_units + over_seeds)

    def p_value(self) -> float:
        """Two-sided, of a mean of 0: the `alpha` at which the interval just reaches 0."""
        return self._alpha_at(abs(self.mean))

    def p_within(self, margin: float) -> float:
        """Of a mean outside ±`margin`: the larger of two one-sided tests (Schuirmann, 1987).

        Below 0.05 where the 90 % interval lies inside. Right and wrong that differ by the margin vary over the images
        as if one alone were right on so many, if all seeds are on the same: no less is assumed, as in Tango's test.
        """
        if abs(self.mean) >= margin:
            return 1.0
        assumed = (
            margin * (1 - margin) / self.effective_units if self.seen_variance is None and not self.nested else 0.0
        )
        there = replace(self, unit_variance=max(self.unit_variance, assumed))
        return there._alpha_at(margin - abs(self.mean)) / 2

    def _alpha_at(self, half_width: float) -> float:
        if half_width == 0:
            return 1.0
        lowest = 1e-12
        if self.half_width(lowest) <= half_width:
            return lowest
        return float(optimize.brentq(lambda alpha: self.half_width(alpha) - half_width, lowest, 1.0))


def score_interval(
    table: Table,
    groups: NDArray[np.int64] | None = None,
    classes: NDArray[np.int64] | None = None,
    step: float = 1.0,
) -> Interval:
    """Interval of the mean score.

    Wilson's (1927) score interval for as many independent images as would give the variance
    that the table shows, as is done for surveys (Korn and Graubard, 1998). For one seed and neither
    groups nor classes that is the plain Wilson interval.

    Parameters
    ----------
    table : array, shape [seeds, images]
        Where the prediction is right, or what each image contributes to the score.
    groups : array of int64, shape [images], optional
        Images with the same number belong together.
    classes : array of int64, shape [images], optional
        Of a score in which every class counts the same, the true classes.
    step : float
        How much an image moves its class's score, as a share of what right instead of wrong does.
    """
    return interval_of(mean_of(table.astype(float), groups, classes, step))


def interval_of(found: Mean) -> Interval:
    """Wilson's interval that is as wide as `found` says.

    Of classes that count the same, what is assumed of the small ones makes Wilson's no wider than that of right and
    wrong in this share, or than what they all show. That is too little where the few images of a hard class happen to
    be right, so the interval holds Student's of the stratified sample too (Cochran 1977, equation 5.16).
    """
    normal = float(stats.norm.isf((1 - CONFIDENCE) / 2))
    mean = min(1.0, max(0.0, found.mean))  # whatever rounding does
    spread, student = mean * (1 - mean), 0.0
    if found.seen_variance is not None:
        most = max(found.seen_variance, spread / found.effective_units)
        if found.unit_variance > most:
            student = found.half_width()
            found = replace(found, unit_variance=most)
    half = found.half_width()
    images = spread / (half / normal) ** 2 if spread > 0 and half > 0 else found.effective_units
    low, high = wilson(mean, images, normal)
    low, high = min(low, max(0.0, mean - student)), max(high, min(1.0, mean + student))
    return Interval(low, high, found.seeds, found.units)


def wilson(share: float, count: float, quantile: float) -> tuple[float, float]:
    """Ends of the score interval of a share in [0, 1] (Wilson, 1927).

    Parameters
    ----------
    share : float
        In [0, 1].
    count : float
        Independent observations, above 0; need not be whole.
    quantile : float
        Of the normal distribution or Student's: 1.96 for 95 %.
    """
    scale = 1 + quantile**2 / count
    centre = (share + quantile**2 / (2 * count)) / scale
    half = quantile * math.sqrt(share * (1 - share) / count + quantile**2 / (4 * count**2)) / scale
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))  # whatever rounding does


def paired_test(
    first: Table,
    second: Table,
    groups: NDArray[np.int64] | None = None,
    classes: NDArray[np.int64] | None = None,
    step: float = 1.0,
    margin: float | None = None,
) -> PairedTest:
    """Whether one classifier does better than another, paired over images and seeds.

    For right and wrong of one seed and no groups this is the exact McNemar test (McNemar, 1947): of the images
    that one names rightly and the other wrongly, how unlikely is so uneven a share? The interval and the test of the
    margin are Tango's (1998), and the interval holds 0 wherever the exact test does not reject it. Else the interval
    of the mean difference decides, which counts both the seeds and the images; so a significant difference is one to
    be expected of other seeds and images too.

    Parameters
    ----------
    first, second : array, shape [seeds, images]
        Where each is right (bool), or what each image contributes to its score; the same seeds and images in the
        same order.
    groups : array of int64, shape [images], optional
        Images with the same number belong together.
    classes : array of int64, shape [images], optional
        Of a score in which every class counts the same, the true classes.
    step : float
        How much an image moves its class's score, as a share of what right instead of wrong does.
    margin : float, optional
        Above 0: test too whether the difference is smaller than this in either direction.
    """
    if len(first) == 1 and groups is None and first.dtype == bool:
        return _test_of_one_seed(first[0].astype(bool), second[0].astype(bool), margin)
    return test_of(mean_of(first.astype(float) - second.astype(float), groups, classes, step), margin)


def test_of(found: Mean, margin: float | None) -> PairedTest:
    """The test of a mean difference."""
    half = found.half_width()
    interval = Interval(max(-1.0, found.mean - half), min(1.0, found.mean + half), found.seeds, found.units)
    return PairedTest(found.mean, interval, found.p_value(), None if margin is None else found.p_within(margin))


def _test_of_one_seed(first: NDArray[np.bool_], second: NDArray[np.bool_], margin: float | None) -> PairedTest:
    """The exact test of right and wrong, and Tango's of the margin: two one-sided ones, as :meth:`Mean.p_within` is."""
    images = len(first)
    counts = int((first & ~second).sum()), int((second & ~first).sum()), images
    p_value = mcnemar(*counts[:2])
    low, high = tango_interval(*counts, float(stats.norm.isf((1 - CONFIDENCE) / 2)))
    if p_value >= 1 - CONFIDENCE:
        low, high = min(low, 0.0), max(high, 0.0)
    within = None
    if margin is not None:
        within = float(stats.norm.cdf(max(tango(*counts, margin), -tango(*counts, -margin))))
    return PairedTest((counts[0] - counts[1]) / images, Interval(low, high, 1, images), p_value, within)


def difference_interval(one: float, of_one: Interval, other: float, of_other: Interval) -> Interval:
    """Interval of the score `one` less `other`, of different images (Newcombe 1998, Statistics in Medicine 17)."""
    down = math.hypot(one - of_one.low, of_other.high - other)
    up = math.hypot(of_one.high - one, other - of_other.low)
    difference = one - other
    return Interval(difference - down, difference + up, min(of_one.seeds, of_other.seeds), of_one.units)


def mean_of(
    table: NDArray[np.float64],
    groups: NDArray[np.int64] | None = None,
    classes: NDArray[np.int64] | None = None,
    step: float = 1.0,
) -> Mean:
    """Two-way analysis of variance, seeds by units, both random, one value each; units within strata, if any."""
    mean = float(table.mean())
    scores, sizes = _by_unit(table - mean, groups)
    seeds, units = scores.shape
    if units < 2:  # of one unit nothing is known
        return Mean(mean, seeds, 2, 0.0, 1.0, 1.0, 2.0)
    strata = _strata(groups, classes, units)
    # A share's own variance for the textbook's interval of a share, and its quantile of the normal distribution.
    textbook = seeds == 1 and groups is None and classes is None
    weight = 1 / len(strata)
    shares = [sizes[members] / sizes[members].sum() for members in strata]
    parts = [
        _variance_within(scores[:, members], share, int(not textbook)) / units**2
        for members, share in zip(strata, shares, strict=True)
    ]
    # As many units of one size as they are worth (Carter, Schnepel and Steigerwald 2017, Review of Economics and
    # Statistics 99, for independent images): their number, or fewer where some groups hold most of the images.
    worth = [float(1 / (share**2).sum()) for share in shares]
    # As if one more image had been wrong and one right: a table without variation is one in which
    # little varies, not one that is known to its last digit.
    least = [(step * weight / (len(members) + 2)) ** 2 for members in strata]
    variances = np.maximum(parts, least)
    known = [max(count - 1, 1.0) for count in worth]
    freedom = math.inf if textbook else float(variances.sum() ** 2 / (variances**2 / known).sum())
    effective = 1 / sum(weight**2 / count for count in worth)
    seed_variance = float(scores.mean(axis=1).var(ddof=1)) / seeds if seeds > 1 else 0.0
    seen = float(np.maximum(parts, 0.0).sum()) if len(strata) > 1 else None
    return Mean(mean, seeds, units, seed_variance, float(variances.sum()), freedom, effective, seen)


def _variance_within(scores: NDArray[np.float64], share: NDArray[np.float64], ddof: int) -> float:
    """Variance of the sum over units of their mean over seeds, without what differs from seed to seed.

    By leaving out each unit in turn (the jackknife, CV3 of MacKinnon, Nielsen and Webb 2023, Journal of Applied
    Econometrics 38): a group pulls the mean towards itself by its share of the images, which hides as much of it.
    """
    units = scores.shape[1]
    if units < 2:
        return 0.0
    deviations = (scores - scores.sum(axis=1, keepdims=True) * share) * ((1 - 1 / units) / (1 - share))
    of_units, degrees = deviations.mean(axis=0), (len(scores) - 1) * (units - 1)
    residual = float(((deviations - of_units) ** 2).sum()) / degrees / len(scores) if degrees else 0.0
    return units * (float((of_units**2).sum()) / (units - ddof) - residual)


def _strata(groups: NDArray[np.int64] | None, classes: NDArray[np.int64] | None, units: int) -> list[NDArray[np.int64]]:
    """The units of each class; all together without classes, or where a group has images of several."""
    together = [np.arange(units)]
    if classes is None:
        return together
    if groups is not None:
        _, first, number = np.unique(groups, return_index=True, return_inverse=True)
        if (classes[first][number] != classes).any():
            return together
        classes = classes[first]
    return [np.flatnonzero(classes == found) for found in np.unique(classes)]


def _by_unit(
    deviations: NDArray[np.float64], groups: NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Deviations from the mean summed by group, scaled so that their mean stays that of the images; and its images."""
    if groups is None:
        return deviations, np.ones(deviations.shape[1], np.int64)
    _, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(number, weights=row) for row in deviations])
    return np.asarray(sums * (len(sizes) / deviations.shape[1])), sizes


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for the number of tests, in the order given (Holm, 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return [float(p) for p in adjusted]
