"""Intervals and paired tests for accuracies over test images and trainings, as pure functions.

A study repeats a training with several seeds and evaluates each on the same test images, so an
accuracy is the mean of a table: seeds by images, right or wrong. Both are samples: other seeds
and other images would have given another mean. The two-way analysis of variance with both factors
random, as in radiology's studies of many readers and many cases (Dorfman, Berbaum and Metz,
1992), gives a part of the variance to each, and Howe's rule (1974, Journal of the American
Statistical Association 69) joins the two into one interval, each part with its own degrees of
freedom. Images that belong together (a patient, a plant) count as one unit.

With one seed only the images vary, and nothing is known of other trainings. With two, little is:
Student's factor is 12.7, and falls to 4.3 with three and 2.8 with five.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A 95 % interval of a mean accuracy, or of a difference of two.

    Attributes
    ----------
    low, high : float
        Its ends: within 0 to 1 for an accuracy, -1 to 1 for a difference.
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
        Mean accuracy of the first less that of the second.
    interval : Interval
        95 % interval of the difference.
    p_value : float
        Two-sided, of no difference.
    """

    difference: float
    interval: Interval
    p_value: float


@dataclass(frozen=True)
class _Mean:
    """The mean of a table, and how far it may be from that of all seeds and images."""

    mean: float
    seeds: int
    units: int
    seed_variance: float
    unit_variance: float
    grouped: bool

    def half_width(self, alpha: float = 1 - CONFIDENCE) -> float:
        """Half of the interval that misses with probability `alpha` (Howe, 1974)."""
        textbook = self.seeds == 1 and not self.grouped
        over_units = stats.norm.isf(alpha / 2) if textbook else stats.t.isf(alpha / 2, self.units - 1)
        over_seeds = stats.t.isf(alpha / 2, self.seeds - 1) if self.seeds > 1 else 0.0
        return math.sqrt(over_units**2 * self.unit_variance + over_seeds**2 * self.seed_variance)

    def p_value(self) -> float:
        """The `alpha` at which the interval just reaches 0."""
        distance = abs(self.mean)
        if distance == 0:
            return 1.0
        lowest = 1e-12
        if self.half_width(lowest) <= distance:
            return lowest
        return float(optimize.brentq(lambda alpha: self.half_width(alpha) - distance, lowest, 1.0))


def accuracy_interval(right: NDArray[np.bool_], groups: NDArray[np.int64] | None = None) -> Interval:
    """Interval of the mean accuracy.

    Wilson's (1927) score interval for as many independent images as would give the variance
    that the table shows, as is done for surveys (Korn and Graubard, 1998). For one seed and no
    groups that is the plain Wilson interval.

    Parameters
    ----------
    right : array of bool, shape [seeds, images]
        Where the prediction is right.
    groups : array of int64, shape [images], optional
        Images with the same number belong together.
    """
    found = _mean_of(right.astype(float), groups)
    normal = float(stats.norm.isf((1 - CONFIDENCE) / 2))
    spread, half = found.mean * (1 - found.mean), found.half_width()
    images = spread / (half / normal) ** 2 if spread > 0 and half > 0 else found.units
    low, high = wilson(found.mean, images, normal)
    return Interval(low, high, len(right), found.units)


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
    first: NDArray[np.bool_], second: NDArray[np.bool_], groups: NDArray[np.int64] | None = None
) -> PairedTest:
    """Whether one classifier is right more often than another, paired over images and seeds.

    For one seed and no groups this is the exact McNemar test (McNemar, 1947): of the images that
    one names rightly and the other wrongly, how unlikely is so uneven a share? Else the interval
    of the mean difference decides, which counts both the seeds and the images; so a significant
    difference is one to be expected of other seeds and images too.

    Parameters
    ----------
    first, second : array of bool, shape [seeds, images]
        Where each is right; the same seeds and images in the same order.
    groups : array of int64, shape [images], optional
        Images with the same number belong together.
    """
    found = _mean_of(first.astype(float) - second.astype(float), groups)
    half = found.half_width()
    interval = Interval(max(-1.0, found.mean - half), min(1.0, found.mean + half), found.seeds, found.units)
    exact = found.seeds == 1 and not found.grouped
    return PairedTest(found.mean, interval, _mcnemar(first[0], second[0]) if exact else found.p_value())


def _mean_of(table: NDArray[np.float64], groups: NDArray[np.int64] | None) -> _Mean:
    """Two-way analysis of variance, seeds by units, both random, one value each."""
    mean = float(table.mean())
    scores = _by_unit(table - mean, groups)
    seeds, units = scores.shape
    grouped = groups is not None
    if units < 2:  # of one unit nothing is known
        return _Mean(mean, seeds, 2, 0.0, 1.0, True)
    of_seeds, of_units = scores.mean(axis=1), scores.mean(axis=0)
    # As if one more image had been wrong and one right: a table without variation is one in which
    # little varies, not one that is known to its last digit.
    least = 1 / (units + 2) ** 2
    if seeds == 1:
        # Not n - 1: a share's own variance, so that one seed without groups gives the textbook interval.
        return _Mean(mean, seeds, units, 0.0, max(float(of_units.var(ddof=int(grouped))) / units, least), grouped)
    rest = scores - of_seeds[:, None] - of_units[None, :]
    residual = float((rest**2).sum()) / ((seeds - 1) * (units - 1)) / (seeds * units)
    unit_variance = max(float(of_units.var(ddof=1)) / units - residual, least)
    return _Mean(mean, seeds, units, float(of_seeds.var(ddof=1)) / seeds, unit_variance, grouped)


def _by_unit(deviations: NDArray[np.float64], groups: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """Deviations from the mean summed by group, scaled so that their mean stays that of the images."""
    if groups is None:
        return deviations
    _, number = np.unique(groups, return_inverse=True)
    count = int(number.max()) + 1
    sums = np.stack([np.bincount(number, weights=row, minlength=count) for row in deviations])
    return np.asarray(sums * (count / deviations.shape[1]))


def _mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    uneven = int((first != second).sum())
    return float(stats.binomtest(int((first & ~second).sum()), uneven).pvalue) if uneven else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for the number of tests, in the order given (Holm, 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return [float(p) for p in adjusted]
