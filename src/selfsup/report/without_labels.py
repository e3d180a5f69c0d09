"""What the measures that need no labels say: how far to trust them, and what they would choose."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from selfsup.evaluation.agreement import MEASURES, Agreement, agreements
from selfsup.report.recorded import RecordedStudy, tidy

#: Each measure's name and paper, as the page says them.
NAMES = {
    "effective_rank": "RankMe, effective rank (Garrido et al., 2023)",
    "alpha_req": "α-ReQ, decay of the spectrum (Agrawal et al., 2022)",
    "lidar": "LiDAR (Thilak et al., 2024)",
    "alignment": "alignment (Wang and Isola, 2020)",
    "uniformity": "uniformity (Wang and Isola, 2020)",
    "embedding_std": "spread of the embeddings",
    "cluster_stability": "stability of the clusters",
    "silhouette": "silhouette of the clusters",
}


@dataclass(frozen=True)
class Opinion:
    """The settings that a measure would choose, among those that finished in most seeds.

    Attributes
    ----------
    measure : str
        A column of the results.
    method, augmentation : str
    lr : float
    value : float
        The measure there, mean over the seeds.
    """

    measure: str
    method: str
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
    found = []
    for measure, better in MEASURES.items():
        known = trained[trained[measure].notna()]
        if known.empty:
            continue
        groups = known.assign(better=better(known[measure].to_numpy(float))).groupby(
            ["method", "augmentation", "lr"], sort=False
        )
        settings = groups.agg(
            seeds=("seed", "nunique"), better=("better", "mean"), value=(measure, "mean")
        ).reset_index()
        first = settings.sort_values(["seeds", "better", "lr"], ascending=[False, False, True]).iloc[0]
        found.append(
            Opinion(measure, first["method"], first["augmentation"], float(first["lr"]), float(first["value"]))
        )
    return found
