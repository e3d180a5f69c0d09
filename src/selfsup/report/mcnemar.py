"""Two classifiers on the same images, right or wrong: McNemar's exact test, and Tango's score test and interval.

All that counts is how many images the first alone names rightly, and how many the second alone. Where these are few, so
is the variance that they show, and Student's interval is too narrow just where the difference is small. Tango (1998,
Equivalence test and confidence interval for the difference in proportions for the paired-sample design, Statistics in
Medicine 17, 891-908) takes the variance that goes with the difference under test.
"""

from __future__ import annotations

import math

from scipy import optimize, stats


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value of no difference, exact (McNemar, 1947)."""
    uneven = only_first + only_second
    return float(stats.binomtest(only_first, uneven).pvalue) if uneven else 1.0


def tango(only_first: int, only_second: int, images: int, difference: float) -> float:
    """Score statistic of a `difference` in [-1, 1], standard normal where that is the true one; falls with it.

    Of a difference of 0 it is the root of McNemar's chi-square.
    """
    # The share of images that the second alone names rightly, most likely under this difference.
    b = -only_first - only_second + (2 * images - only_first + only_second) * difference
    c = -only_second * difference * (1 - difference)
    share = (math.sqrt(max(0.0, b * b - 8 * images * c)) - b) / (4 * images)
    variance = images * (2 * share + difference * (1 - difference))
    beyond = only_first - only_second - images * difference
    return beyond / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, beyond) if beyond else 0.0


def tango_interval(only_first: int, only_second: int, images: int, quantile: float) -> tuple[float, float]:
    """The differences whose score statistic is within ±`quantile`; in [-1, 1]."""
    found = (only_first - only_second) / images

    def end(side: int) -> float:
        outermost = side * (1 - 1e-9)

        def beyond(difference: float) -> float:
            return side * tango(only_first, only_second, images, difference) + quantile

        return float(side) if beyond(outermost) >= 0 else float(optimize.brentq(beyond, found, outermost))

    return end(-1), end(1)
