"""Intervals and paired tests for accuracies and other scores over test images and trainings, as pure functions.

Each is made of a mean and its variance over seeds and images (:mod:`selfsup.report.means`), but for right and wrong of
one seed without groups, which has exact tests of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from selfsup.report.mcnemar import mcnemar, tango, tango_interval
from selfsup.report.means import CONFIDENCE, Mean, mean_of

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


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for the number of tests, in the order given (Holm, 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return [float(p) for p in adjusted]
