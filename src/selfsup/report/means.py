"""The mean of a score over test images and trainings, and how far it may be from that of all of them.

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
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Mean:
    """The mean of a table, and how far it may be from that of all seeds and images.

    `unit_variance` counts what is assumed of classes whose images are alike; `seen_variance` only what all classes
    show, and is None without classes. `residual_variance` is the part of the seeds' that comes from answers on single
    images which differ from seed to seed.
    """

    mean: float
    seeds: int
    units: int
    seed_variance: float
    unit_variance: float
    unit_freedom: float
    effective_units: float
    seen_variance: float | None = None
    residual_variance: float = 0.0
    nested: bool = False

    def half_width(self, alpha: float = 1 - CONFIDENCE) -> float:
        """Half of the interval that misses with probability `alpha` (Howe, 1974).

        Two or three seeds may have nearly one mean by chance; so what they vary by is no less than what their answers
        on single images, which are many, let expect. Where units are `nested` in the seeds, the variance of the seeds
        has that of the units in it.
        """
        of_units = stats.t.isf(alpha / 2, self.unit_freedom) ** 2
        over_units, over_seeds = of_units * self.unit_variance, of_units * self.residual_variance
        if self.seeds > 1:
            over_seeds = max(over_seeds, stats.t.isf(alpha / 2, self.seeds - 1) ** 2 * self.seed_variance)
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
    within = [
        _variances_within(scores[:, members], share, int(not textbook))
        for members, share in zip(strata, shares, strict=True)
    ]
    parts, residuals = np.array(within).T / units**2
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
    residual = float(residuals.sum())
    return Mean(mean, seeds, units, seed_variance, float(variances.sum()), freedom, effective, seen, residual)


def _variances_within(scores: NDArray[np.float64], share: NDArray[np.float64], ddof: int) -> tuple[float, float]:
    """Variance of the sum over units of their mean over seeds: without what differs from seed to seed, and that alone.

    By leaving out each unit in turn (the jackknife, CV3 of MacKinnon, Nielsen and Webb 2023, Journal of Applied
    Econometrics 38): a group pulls the mean towards itself by its share of the images, which hides as much of it.
    """
    units = scores.shape[1]
    if units < 2:
        return 0.0, 0.0
    deviations = (scores - scores.sum(axis=1, keepdims=True) * share) * ((1 - 1 / units) / (1 - share))
    of_units, degrees = deviations.mean(axis=0), (len(scores) - 1) * (units - 1)
    residual = float(((deviations - of_units) ** 2).sum()) / degrees / len(scores) if degrees else 0.0
    return units * (float((of_units**2).sum()) / (units - ddof) - residual), units * residual


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
