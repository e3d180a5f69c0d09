"""Which settings were chosen, and what they reach: pure functions of the results table.

Settings are chosen by the study's metric on validation images and quoted on test images. Without labels they are
chosen by effective rank (RankMe, Garrido et al., 2023), which follows the accuracy of a probe
only loosely.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from selfsup.config.axes import CHOSEN, COMPARED, REFERENCE
from selfsup.errors import UserError
from selfsup.evaluation.metrics import ACCURACY, METRICS, Metric
from selfsup.record.results import FINAL
from selfsup.report.recorded import tidy

CHOICE_COLUMNS = [*COMPARED, "per_class", *CHOSEN, "seeds", "score", "cells"]


@dataclass(frozen=True)
class Optimism:
    """What choosing settings by their test scores would have added to those quoted.

    Attributes
    ----------
    choices : int
        Methods and numbers of images at which there was more than one setting to choose from.
    mean, largest : float
        Test score of the setting with the highest, less that of the one chosen on validation;
        at least 0.
    """

    choices: int
    mean: float
    largest: float


def criterion(results: pd.DataFrame, metric: Metric = ACCURACY) -> str:
    """The column by which settings are chosen: that of the metric on validation, else effective rank.

    Raises
    ------
    UserError
        If cells have another metric on validation and not this one.
    """
    table = tidy(results)
    known = table[[known.validation for known in METRICS.values()]].notna().any(axis=1)
    if missing := int((known & table[metric.validation].isna()).sum()):
        raise UserError(
            f"{missing} of the study's cells have no {metric.words} on validation images, either because an earlier "
            f"version evaluated them or because they are of one class; leave out --metric, or begin a new study."
        )
    return metric.validation if known.any() else "effective_rank"


def size_order(sizes: Iterable[str]) -> list[str]:
    """Different numbers of images per class, or shares of each class, in ascending order, ``"all"`` last."""
    return sorted(set(sizes), key=lambda size: math.inf if size == "all" else float(size.removesuffix("%")))


def comparable(results: pd.DataFrame) -> pd.DataFrame:
    """The results without trainings on numbers of images that not every method that trains has finished.

    For a study whose budget was over before it came to the others.
    """
    trained = results["lr"].notna()
    finished = results[trained & results["status"].isin(FINAL)]
    have = {size: set(candidates_of(rows)) for size, rows in finished.groupby("per_class")}
    whole = [size for size, found in have.items() if found == set().union(*have.values())]
    return results[~trained | results["per_class"].isin(whole)].reset_index(drop=True)


def candidates_of(results: pd.DataFrame) -> list[tuple[str, ...]]:
    """Of each row, what it is a cell of: its method and network."""
    return list(results[COMPARED].itertuples(index=False, name=None))


def candidate_names(results: pd.DataFrame) -> dict[tuple[Any, ...], str]:
    """Short names of the methods with their networks: of a reference the network's, and without it where it is one."""
    found = dict.fromkeys(candidates_of(results))
    networks = Counter(method for method, _ in found)
    names: dict[tuple[Any, ...], str] = {}
    for method, backbone in found:
        name = method if networks[method] == 1 else f"{method} {backbone}"
        names[method, backbone] = backbone if method == REFERENCE else name
    return names


def choose(results: pd.DataFrame, metric: Metric = ACCURACY, *, per_augmentation: bool = False) -> pd.DataFrame:
    """The chosen augmentation and learning rate of each method and network at each number of images.

    The choice is the highest mean of the metric on validation over the seeds (effective rank where there
    are no labels), among cells that are done. Settings that finished in more seeds come first, so
    that one lucky seed of a setting that otherwise diverges is not chosen. Of equals, the smaller
    learning rate is chosen, then the augmentation first in the alphabet.

    Parameters
    ----------
    results : DataFrame
        As in ``results.csv``.
    metric : Metric, optional
    per_augmentation : bool
        Choose a learning rate for each augmentation by itself.

    Returns
    -------
    DataFrame
        Columns method, backbone, per_class (text), augmentation (``""`` for none), lr (NaN for none),
        seeds (finished), score (mean of the criterion), cells (tuple of ids, by seed).
    """
    table = tidy(results)
    table["score"] = table[criterion(table, metric)]
    done = table[(table["status"] == "done") & table["score"].notna()].sort_values("seed", kind="stable")
    if done.empty:
        return pd.DataFrame(columns=CHOICE_COLUMNS)
    contest = [*COMPARED, "per_class", *(CHOSEN[:1] if per_augmentation else [])]
    groups = done.groupby([*COMPARED, "per_class", *CHOSEN], dropna=False, sort=False)
    candidates = groups.agg(seeds=("seed", "nunique"), score=("score", "mean"), cells=("cell", tuple)).reset_index()
    # Means of the same numbers in another order differ in the last bit; they are equals.
    candidates["rounded"] = candidates["score"].round(12)
    ranked = candidates.sort_values(
        ["seeds", "rounded", "lr", "augmentation"], ascending=[False, False, True, True], kind="stable"
    )
    chosen = ranked.groupby(contest, sort=False).head(1)
    rows, sizes = list(dict.fromkeys(candidates_of(table))), size_order(chosen["per_class"])
    placed = chosen.assign(row=[*map(rows.index, candidates_of(chosen))], column=chosen["per_class"].map(sizes.index))
    in_order = placed.sort_values(["row", "column", "augmentation"], kind="stable", ignore_index=True)
    return in_order[CHOICE_COLUMNS]


def chosen_settings(results: pd.DataFrame) -> tuple[str, ...]:
    """Axes of which more than one value was tried with a method and network, so that one was chosen."""
    tried = tidy(results).groupby(COMPARED)
    return tuple(name for name in CHOSEN if (tried[name].nunique() > 1).any())


def superfluous_weights(results: pd.DataFrame, metric: Metric = ACCURACY, *, seeds: int = 1) -> list[str]:
    """Cells whose weights ``keep = "best"`` removes: where settings were chosen, those that cannot be chosen any more.

    Those are settings that have all `seeds` of the study behind them and are not the chosen ones: what ranks above
    them stays there, for a seed more only lifts it further. So whatever the order in which cells finish, those that are
    chosen in the end have their weights.
    """
    chosen = choose(results, metric)
    kept = {cell for cells in chosen["cells"] for cell in cells}
    decided = set(zip(candidates_of(chosen), chosen["per_class"], strict=True))
    final = results[results["status"].isin(FINAL)]
    ended = final.groupby([*COMPARED, "per_class", *CHOSEN], dropna=False)["seed"].transform("nunique") >= seeds
    over = final[ended]
    rows = zip(over["cell"], candidates_of(over), over["per_class"].astype(str), strict=True)
    return [cell for cell, candidate, per_class in rows if (candidate, per_class) in decided and cell not in kept]


def optimism(results: pd.DataFrame, metric: Metric = ACCURACY) -> Optimism | None:
    """What choosing by the metric on test, among the same settings, would have added; None where there was no choice.

    Settings that finished in fewer seeds than the chosen one are left out, as they are when choosing.
    """
    table = tidy(results)
    done = table[(table["status"] == "done") & table[metric.test].notna()]
    gains = []
    for choice in choose(results, metric).to_dict("records"):
        contest = [*COMPARED, "per_class"]
        rivals = done[(done[contest] == [choice[name] for name in contest]).all(axis=1)]
        settings = rivals.groupby(CHOSEN, dropna=False)
        means = settings[metric.test].mean()[settings["seed"].nunique() >= choice["seeds"]]
        if len(means) > 1:
            quoted = done.loc[done["cell"].isin(choice["cells"]), metric.test].mean()
            gains.append(max(0.0, float(means.max() - quoted)))
    return Optimism(len(gains), float(np.mean(gains)), max(gains)) if gains else None
