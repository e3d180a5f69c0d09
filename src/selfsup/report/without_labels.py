"""What the measures that need no labels say: how far to trust them, and what they would choose."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from selfsup.config.axes import CHOSEN, COMPARED
from selfsup.evaluation.agreement import Agreement, agreements
from selfsup.evaluation.evaluators import measures
from selfsup.report.recorded import RecordedStudy, tidy
from selfsup.report.selection import candidate_names


@dataclass(frozen=True)
class Opinion:
    """The settings that a measure would choose, among those that finished in most seeds.

    Attributes
    ----------
    measure : str
        A column of the results.
    name, augmentation : str
    lr : float
    value : float
        The measure there, mean over the seeds.
    """

    measure: str
    name: str
    augmentation: str
    lr: float
    value: float


def trust(study: RecordedStudy) -> list[Agreement]:
    """How each measure goes with the accuracies of this study, the most telling first; empty without labels."""
    if not study.labelled:
        return []
    known = [found for found in agreements(study.results) if math.isfinite(found.correlation.rho) and found.choices]
    return sorted(known, key=lambda found: -found.correlation.rho)


def opinions(results: pd.DataFrame) -> list[Opinion]:
    """What each measure would choose among the trained settings at the largest number of images."""
    table = tidy(results)
    trained = table[(table["status"] == "done") & table["lr"].notna()]
    found, names = [], candidate_names(table)
    for measure in measures():
        known = trained[trained[measure.name].notna()]
        if known.empty:
            continue
        groups = known.assign(better=measure.goodness(known[measure.name].to_numpy(float))).groupby(
            [*COMPARED, *CHOSEN], sort=False
        )
        settings = groups.agg(
            seeds=("seed", "nunique"), better=("better", "mean"), value=(measure.name, "mean")
        ).reset_index()
        first = settings.sort_values(["seeds", "better", "lr"], ascending=[False, False, True]).iloc[0]
        found.append(
            Opinion(
                measure.name,
                names[first["method"], first["backbone"]],
                first["augmentation"],
                float(first["lr"]),
                float(first["value"]),
            )
        )
    return found
