"""How methods do on the external test, and what they lose there; nothing is chosen by it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfsup.evaluation.metrics import ACCURACY
from selfsup.report.findings import Choice, ExternalScore
from selfsup.report.pairwise import ImageScores, Outcomes
from selfsup.report.recorded import RecordedStudy
from selfsup.report.statistics import difference_interval


class _ExternalOutcomes(Outcomes):
    """How well each cell does on each image of the external test."""

    def _predictions(self, cell: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None:
        return self._study.external_predictions(cell)

    def _units(self, outcome: ImageScores) -> dict[str, Any]:
        return {**super()._units(outcome), "groups": None}  # those of --group are of the study's own images


class _SameClasses(Outcomes):
    """How well each cell does on each test image of the classes that the external test has."""

    def _predictions(self, cell: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None:
        found = super()._predictions(cell)
        if found is None:
            return None
        rows = np.isin(found[1], self._study.external_classes)
        return found[0][rows], found[1][rows], found[2][rows]


def external_scores(study: RecordedStudy, choices: Iterable[Choice]) -> tuple[ExternalScore, ...]:
    """Those of `choices` by the study's metric, or accuracy where it looks at probabilities; empty without the test."""
    if "external" not in study.dataset:
        return ()
    metric = ACCURACY if study.metric.ranks else study.metric
    there, here = _ExternalOutcomes(study, metric), _SameClasses(study, metric)
    found = []
    for choice in choices:
        far, near = there.score(choice.cells), here.score(choice.cells)
        if far is not None and near is not None:
            found.append(ExternalScore(choice, near[0], *far, difference_interval(*far, *near)))
    return tuple(found)
