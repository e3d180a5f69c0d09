"""How well a measure without labels would have chosen: rank correlation with accuracy, and its price."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from selfsup.config.axes import AXES
from selfsup.evaluation.evaluators import measures

if TYPE_CHECKING:
    import pandas as pd

#: Cells that are alike but for their learning rate.
ALIKE = [axis.name for axis in AXES if axis.name != "lr"]
#: Fewest cells for which a correlation is given.
LEAST_CELLS = 4


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation with a 95 % interval.

    Attributes
    ----------
    rho, low, high : float
        In [-1, 1]; NaN where there are fewer than four pairs, or one side never varies.
    count : int
        Pairs behind it.
    """

    rho: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Agreement:
    """What a measure's choice of learning rates would have been worth.

    Attributes
    ----------
    measure : str
        A column of ``results.csv``.
    correlation : Correlation
        With test accuracy, over cells that are done; positive where the better value of the
        measure goes with the higher accuracy.
    regret : float
        Test accuracy lost by choosing the learning rate by the measure, against choosing it by
        validation accuracy; mean over the choices, NaN where there was none. May be negative.
    choices : int
        Groups of cells, alike but for their learning rate, in which there was something to choose.
    """

    measure: str
    correlation: Correlation
    regret: float
    choices: int


def rank_correlation(first: ArrayLike, second: ArrayLike) -> Correlation:
    """Spearman's correlation; its interval by Fisher's z with the variance of Bonett & Wright (2000).

    Parameters
    ----------
    first, second : array_like of float, shape (n,)
        Pairs in which one side is not finite are left out.
    """
    from scipy import stats

    a, b = np.asarray(first, float), np.asarray(second, float)
    finite = np.isfinite(a) & np.isfinite(b)
    a, b = a[finite], b[finite]
    if len(a) < LEAST_CELLS or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Correlation(math.nan, math.nan, math.nan, len(a))
    rho = float(stats.spearmanr(a, b).statistic)
    z = math.atanh(min(max(rho, -1 + 1e-12), 1 - 1e-12))
    half = float(stats.norm.ppf(0.975)) * math.sqrt((1 + rho**2 / 2) / (len(a) - 3))
    return Correlation(rho, math.tanh(z - half), math.tanh(z + half), len(a))


def agreements(results: pd.DataFrame) -> list[Agreement]:
    """How every measure that `results` holds agrees with test accuracy.

    Parameters
    ----------
    results : DataFrame
        As in ``results.csv``. Cells that are not done, or were never trained, have no say.
    """
    trained = results[(results["status"] == "done") & results["lr"].notna() & results["test_accuracy"].notna()]
    found = []
    for measure in measures():
        if measure.name not in trained or trained[measure.name].isna().all():
            continue
        known = trained[trained[measure.name].notna()]
        better = known.assign(better=measure.goodness(known[measure.name].to_numpy(float)))
        lost = _regrets(better)
        found.append(
            Agreement(
                measure.name,
                rank_correlation(better["better"], better["test_accuracy"]),
                float(np.mean(lost)) if lost else math.nan,
                len(lost),
            )
        )
    return found


def _regrets(cells: pd.DataFrame) -> list[float]:
    """Test accuracy lost in each group of cells that differ in their learning rate."""
    groups = cells[cells["val_accuracy"].notna()].sort_values("lr", kind="stable").groupby(ALIKE, dropna=False)
    return [
        float(_chosen(group, "val_accuracy") - _chosen(group, "better"))
        for _, group in groups
        if group["lr"].nunique() > 1
    ]


def _chosen(group: pd.DataFrame, criterion: str) -> float:
    """Test accuracy of the cell with the highest `criterion`, of equals the one with the smallest rate."""
    return float(group["test_accuracy"].to_numpy()[group[criterion].to_numpy(float).argmax()])
