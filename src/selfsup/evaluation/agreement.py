"""How well a measure without labels would have chosen: rank correlation with accuracy, and its price."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from selfsup.config.axes import AXES, CHOSEN, COMPARED, names_for
from selfsup.evaluation.evaluators import measures

if TYPE_CHECKING:
    import pandas as pd

#: Cells that are alike but for their learning rate.
ALIKE = [axis.name for axis in AXES if axis.name != "lr"]
#: Fewest pairs for which a correlation is given.
LEAST_PAIRS = 4


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
        With test accuracy, over the settings with a cell that is done; positive where the better value of the
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

    At a correlation of 1 Fisher's z is infinite: a perfect order has the interval of the next possible one, in which
    two neighbours are exchanged and the correlation is 1 - 12 / (n (n² - 1)), and 1 itself.

    Parameters
    ----------
    first, second : array_like of float, shape (n,)
        Pairs in which one side is not finite are left out.
    """
    from scipy import stats

    a, b = np.asarray(first, float), np.asarray(second, float)
    finite = np.isfinite(a) & np.isfinite(b)
    a, b = a[finite], b[finite]
    if len(a) < LEAST_PAIRS or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Correlation(math.nan, math.nan, math.nan, len(a))
    rho = float(stats.spearmanr(a, b).statistic)
    n = len(a)
    most = 1 - 12 / (n * (n**2 - 1))
    next_to = min(max(rho, -most), most)
    half = float(stats.norm.ppf(0.975)) * math.sqrt((1 + next_to**2 / 2) / (n - 3))
    low, high = (math.tanh(math.atanh(next_to) + end) for end in (-half, half))
    return Correlation(rho, min(low, rho), max(high, rho), n)


def agreements(results: pd.DataFrame) -> list[Agreement]:
    """How every measure that `results` holds agrees with test accuracy.

    The cells of a setting repeat one another, with other seeds or as the same training at other numbers of labels. So
    each setting counts once: as the mean over its cells of what they have beyond the mean of the cells of their seed
    and number of images.

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
        settings, lost = _by_setting(better[np.isfinite(better["better"])]), _regrets(better)
        found.append(
            Agreement(
                measure.name,
                rank_correlation(settings["better"], settings["test_accuracy"]),
                float(np.mean(lost)) if lost else math.nan,
                len(lost),
            )
        )
    return found


def _by_setting(cells: pd.DataFrame) -> pd.DataFrame:
    values = ["better", "test_accuracy"]
    beside = cells.groupby([*names_for("size"), *names_for("repeated")])[values].transform("mean")
    compared = cells.assign(**{name: cells[name] - beside[name] for name in values})
    return compared.groupby([*COMPARED, *CHOSEN], dropna=False)[values].mean()


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
