"""Methods over several data sets: average ranks, Friedman's test and critical differences (Demšar, 2006)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

#: Fewest data sets for which ranks are averaged; Demšar advises more than 10 (section 3.2.2).
LEAST_DATASETS = 3


@dataclass(frozen=True)
class Ranks:
    """How methods rank over data sets, 1 the most accurate.

    Attributes
    ----------
    methods : tuple of str
        By average rank, the best first.
    average : tuple of float
        In the same order.
    datasets : int
    p_value : float
        Friedman's test of no difference between any, in Iman and Davenport's form (Demšar 2006,
        section 3.2.2).
    critical_difference : float
        Two methods whose average ranks differ by this or more differ at the 5 % level (Nemenyi).
    """

    methods: tuple[str, ...]
    average: tuple[float, ...]
    datasets: int
    p_value: float
    critical_difference: float

    @property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """First and last place of every longest run of methods that are not shown to differ."""
        runs: list[tuple[int, int]] = []
        for first, rank in enumerate(self.average):
            last = max(i for i, other in enumerate(self.average) if other - rank < self.critical_difference)
            if last > first and (not runs or last > runs[-1][1]):
                runs.append((first, last))
        return tuple(runs)


def rank_methods(accuracies: ArrayLike, methods: Sequence[str]) -> Ranks:
    """Rank methods on every data set, and average.

    Parameters
    ----------
    accuracies : array_like of float, shape [data sets, methods]
        Equal ones share their ranks.
    methods : sequence of str
        At least 2.

    Raises
    ------
    ValueError
        If there are fewer than `LEAST_DATASETS` data sets or 2 methods.
    """
    table = np.asarray(accuracies, float)
    n, k = table.shape
    if n < LEAST_DATASETS or k < 2:
        raise ValueError(f"{n} data sets and {k} methods: at least {LEAST_DATASETS} and 2 are needed")
    ranks = stats.rankdata(-table, axis=1)
    average = ranks.mean(axis=0)
    order = np.argsort(average, kind="stable")
    critical = float(stats.studentized_range.isf(0.05, k, math.inf)) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n))
    return Ranks(
        tuple(methods[i] for i in order), tuple(float(average[i]) for i in order), n, _friedman(ranks), critical
    )


def _friedman(ranks: np.ndarray) -> float:
    """p-value of Iman and Davenport's F, from ranks with ties."""
    n, k = ranks.shape
    deviation = float(((ranks.mean(axis=0) - (k + 1) / 2) ** 2).sum())
    spread = float(((ranks - (k + 1) / 2) ** 2).sum()) / (n * (k - 1))
    if spread == 0:
        return 1.0
    chi2 = n * deviation / spread
    rest = n * (k - 1) - chi2
    if rest <= 1e-12:
        return 0.0
    return float(stats.f.sf((n - 1) * chi2 / rest, k - 1, (k - 1) * (n - 1)))
