"""Which settings were chosen, and what they reach: pure functions of the results table.

Settings are chosen on validation accuracy and quoted on test accuracy. Without labels they are
chosen by effective rank (RankMe, Garrido et al., 2023), which follows the accuracy of a probe
only loosely.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from selfsup.report.reading import tidy
from selfsup.report.statistics import Interval, over_seeds, wilson

CHOICE_COLUMNS = ["method", "per_class", "augmentation", "lr", "seeds", "score", "cells"]
ANSWER_COLUMNS = [
    "method", "per_class", "augmentation", "lr", "seeds", "val_accuracy", "test_accuracy", "test_low",
    "test_high", "interval", "train_seconds",
]  # fmt: skip


def criterion(results: pd.DataFrame) -> str:
    """The column by which settings are chosen: validation accuracy, else effective rank."""
    return "val_accuracy" if tidy(results)["val_accuracy"].notna().any() else "effective_rank"


def size_order(sizes: Iterable[str]) -> list[str]:
    """Different numbers of images per class in ascending order, ``"all"`` last."""
    return sorted(set(sizes), key=lambda size: (size == "all", 0 if size == "all" else int(size)))


def choose(results: pd.DataFrame, *, per_augmentation: bool = False) -> pd.DataFrame:
    """The chosen augmentation and learning rate of each method at each number of images.

    The choice is the highest mean validation accuracy over the seeds (effective rank where there
    are no labels), among cells that are done. Settings that finished in more seeds come first, so
    that one lucky seed of a setting that otherwise diverges is not chosen. Of equals, the smaller
    learning rate is chosen, then the augmentation first in the alphabet.

    Parameters
    ----------
    results : DataFrame
        As in ``results.csv``.
    per_augmentation : bool
        Choose a learning rate for each augmentation by itself.

    Returns
    -------
    DataFrame
        Columns method, per_class (text), augmentation (``""`` for none), lr (NaN for none),
        seeds (finished), score (mean of the criterion), cells (tuple of ids, by seed).
    """
    table = tidy(results)
    table["score"] = table[criterion(table)]
    done = table[(table["status"] == "done") & table["score"].notna()].sort_values("seed", kind="stable")
    if done.empty:
        return pd.DataFrame(columns=CHOICE_COLUMNS)
    settings = ["method", "per_class", "augmentation", "lr"]
    groups = done.groupby(settings, dropna=False, sort=False)
    candidates = groups.agg(seeds=("seed", "nunique"), score=("score", "mean"), cells=("cell", tuple)).reset_index()
    # Means of the same numbers in another order differ in the last bit; they are equals.
    candidates["rounded"] = candidates["score"].round(12)
    ranked = candidates.sort_values(
        ["seeds", "rounded", "lr", "augmentation"], ascending=[False, False, True, True], kind="stable"
    )
    chosen = ranked.groupby(settings[: 3 if per_augmentation else 2], sort=False).head(1)
    return _in_order(chosen, list(dict.fromkeys(table["method"])))[CHOICE_COLUMNS]


def answer_table(results: pd.DataFrame, *, test_images: int | None = None) -> pd.DataFrame:
    """What each method reaches at each number of images, with its chosen settings.

    Parameters
    ----------
    results : DataFrame
        As in ``results.csv``.
    test_images : int, optional
        Number of test images; without it, a single seed gets no interval.

    Returns
    -------
    DataFrame
        Columns method, per_class, augmentation, lr, seeds, val_accuracy and test_accuracy (means
        over the seeds), test_low and test_high (95 % interval), interval (``"wilson"``: one seed,
        over the test images; ``"t"``: over the seeds; ``""``: none), train_seconds (mean of one
        training).
    """
    table = tidy(results).set_index("cell")
    rows = []
    for choice in choose(results).to_dict("records"):
        cells = table.loc[list(choice["cells"])]
        interval = interval_of(cells["test_accuracy"], test_images)
        rows.append(
            {
                **{name: choice[name] for name in ANSWER_COLUMNS[:5]},
                "val_accuracy": cells["val_accuracy"].mean(),
                "test_accuracy": cells["test_accuracy"].mean(),
                "test_low": interval.low if interval else np.nan,
                "test_high": interval.high if interval else np.nan,
                "interval": interval.kind if interval else "",
                "train_seconds": cells["train_seconds"].mean(),
            }
        )
    return pd.DataFrame(rows, columns=ANSWER_COLUMNS)


def interval_of(accuracies: pd.Series, test_images: int | None) -> Interval | None:
    """The 95 % interval that the finished seeds allow."""
    values = [float(a) for a in accuracies.dropna()]
    if len(values) > 1:
        return over_seeds(values)
    if values and test_images:
        return wilson(values[0], test_images)
    return None


def _in_order(chosen: pd.DataFrame, methods: list[str]) -> pd.DataFrame:
    sizes = size_order(chosen["per_class"])
    return chosen.sort_values(
        ["method", "per_class", "augmentation"],
        key=lambda column: (
            column.map({"method": methods, "per_class": sizes}[str(column.name)].index)
            if column.name != "augmentation"
            else column
        ),
        kind="stable",
    ).reset_index(drop=True)
