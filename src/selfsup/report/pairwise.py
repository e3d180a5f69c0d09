"""Methods against each other, on the same test images and seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from selfsup.evaluation.metrics import Metric, strata
from selfsup.report.findings import SIGNIFICANT, Choice, Comparison, Verdict
from selfsup.report.recorded import RecordedStudy
from selfsup.report.resplit import resplit_interval, resplit_test
from selfsup.report.statistics import Interval, PairedTest, Table, holm, paired_test, score_interval


@dataclass(frozen=True)
class ImageScores:
    """What a cell's test images contribute to its score: arrays of length N, and the true classes or labels."""

    indices: NDArray[np.int64]
    labels: NDArray[Any]
    contributions: Table


class Outcomes:
    """How well each cell does on each test image by the study's metric, read once from its folder.

    Parameters
    ----------
    study : RecordedStudy
    metric : Metric, optional
        The study's by default.
    """

    def __init__(self, study: RecordedStudy, metric: Metric | None = None) -> None:
        self._study, self._metric = study, metric or study.metric
        self._outcome = cache(self._read)

    def interval(self, cells: Iterable[str]) -> Interval | None:
        """Interval of the mean score of cells that differ in their seed; None unless it is known of each of them."""
        found = self.score(cells)
        return None if found is None else found[1]

    def score(self, cells: Iterable[str]) -> tuple[float, Interval] | None:
        """Mean score of cells that differ in their seed, and its interval; None unless it is known of each of them."""
        found = self._known(cells)
        if self._resplit(found):
            units = list(map(self._units, found))
            interval = resplit_interval([_table([o]) for o in found], units, self._study.test_ratio)
        elif found and _same_images(found):
            interval = score_interval(_table(found), **self._units(found[0]))
        else:
            return None
        return float(np.mean([outcome.contributions.mean() for outcome in found])), interval

    def compare(self, one: Choice, other: Choice) -> PairedTest | None:
        """Paired test over the seeds that both have; None unless all of them are known, and on the same test images."""
        first, second = self._by_seed(one), self._by_seed(other)
        seeds = sorted(first.keys() & second.keys())
        ones, others = self._known(first[seed] for seed in seeds), self._known(second[seed] for seed in seeds)
        if not ones or not others or not all(map(_same_images, zip(ones, others, strict=True))):
            return None
        units = list(map(self._units, ones))
        if self._resplit(ones):
            one_by_one, other_by_one = ([_table([o]) for o in side] for side in (ones, others))
            return resplit_test(one_by_one, other_by_one, units, self._study.test_ratio, self._study.margin)
        if not _same_images(ones):
            return None
        return paired_test(_table(ones), _table(others), **units[0], margin=self._study.margin)

    def unreadable(self, cells: Iterable[str]) -> list[str]:
        """Those of the cells whose predictions are missing or damaged."""
        return [cell for cell in cells if self._outcome(cell) is None and not self._has_files(cell)]

    def _has_files(self, cell: str) -> bool:
        by_probabilities = self._metric.ranks and self._study.probabilities(cell) is None
        return self._predictions(cell) is not None and not by_probabilities

    def _known(self, cells: Iterable[str]) -> list[ImageScores]:
        """What is known of cells; nothing unless it is of each: no interval or test has fewer seeds than are quoted."""
        found = [self._outcome(cell) for cell in cells]
        known = [outcome for outcome in found if outcome is not None]
        return known if len(known) == len(found) else []

    def _resplit(self, of_seeds: Sequence[ImageScores]) -> bool:
        """Whether the seeds test images of their own, and not those that are given with the data."""
        return self._study.resplit and not _same_images(of_seeds)

    def _read(self, cell: str) -> ImageScores | None:
        found = self._predictions(cell)
        if found is None or not len(found[0]) or (found[1] < 0).any():
            return None
        probabilities = self._study.probabilities(cell) if self._metric.ranks else np.empty((0, 0))
        if probabilities is None:
            return None
        indices, labels, predicted = found
        contributions = self._metric.contributions(labels, predicted, probabilities)
        return ImageScores(indices, labels, contributions) if np.isfinite(contributions).all() else None

    def _predictions(self, cell: str) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]] | None:
        """Places, true and predicted classes of a cell's test images; None where they cannot be read."""
        found = self._study.embeddings(cell)
        return None if found is None else (found.indices, found.labels, found.predicted)

    def _by_seed(self, choice: Choice) -> dict[int, str]:
        return {self._seeds[cell]: cell for cell in choice.cells}

    @cached_property
    def _seeds(self) -> dict[str, int]:
        results = self._study.results
        return dict(zip(results["cell"], results["seed"].astype(int), strict=True))

    def _units(self, outcome: ImageScores) -> dict[str, Any]:
        """Which images belong together, or are a sample of their own."""
        metric, groups = self._metric, self._study.groups
        return {
            "groups": None if groups is None else groups[outcome.indices],
            "classes": strata(outcome.labels) if metric.by_class else None,
            "step": metric.step,
        }


def _table(outcomes: Sequence[ImageScores]) -> Table:
    return cast(Table, np.stack([outcome.contributions for outcome in outcomes]))


def _same_images(outcomes: Sequence[ImageScores]) -> bool:
    return all(np.array_equal(outcome.indices, outcomes[0].indices) for outcome in outcomes)


def against_the_others(outcomes: Outcomes, best: Choice, choices: Iterable[Choice]) -> tuple[Comparison, ...]:
    """`best` against each other method at the same number of images, corrected together."""
    return _corrected(outcomes, [(best, c) for c in choices if c.per_class == best.per_class and c.name != best.name])


def gains_by_training(
    outcomes: Outcomes, best_of_each_size: Iterable[Choice], choices: Iterable[Choice]
) -> tuple[Comparison, ...]:
    """What training gains at each number of images over the network without training that comes nearest.

    Better than all of them is tested by the largest of the p-values (an intersection-union test: Berger 1982,
    Technometrics 24), worse than one of them by the smallest, times their number; both then Holm-corrected for the
    numbers of images. Of a number at which one of the networks cannot be compared, nothing is said.
    """
    untrained = [c for c in choices if not c.trains]
    found = []
    for best in best_of_each_size:
        rivals = [c for c in untrained if best.trains and c.per_class == best.per_class]
        tested = [(c, test) for c in rivals if (test := outcomes.compare(best, c)) is not None]
        if tested and len(tested) == len(rivals):
            rival, test = min(tested, key=lambda pair: pair[1].difference)
            worse = [other.p_value for _, other in tested if other.difference < 0]
            p = min([1.0, *(len(tested) * p_value for p_value in worse)])
            if test.difference > 0:
                p = max(other.p_value for _, other in tested)
            found.append((best, rival, test, p))
    adjusted = holm([p for *_, p in found])
    return tuple(
        Comparison(best, rival, test, p, verdict_of(test, p))
        for (best, rival, test, _), p in zip(found, adjusted, strict=True)
    )


def every_pair(outcomes: Outcomes, choices: Iterable[Choice]) -> tuple[Comparison, ...]:
    """Every pair of methods at every number of images, corrected together."""
    return _corrected(outcomes, [(a, b) for a, b in combinations(choices, 2) if a.per_class == b.per_class])


def _corrected(outcomes: Outcomes, pairs: Iterable[tuple[Choice, Choice]]) -> tuple[Comparison, ...]:
    tested = [(one, other, test) for one, other in pairs if (test := outcomes.compare(one, other)) is not None]
    adjusted = holm([test.p_value for *_, test in tested])
    margins = [test.p_within for *_, test in tested if test.p_within is not None]
    within = holm(margins) if margins else [None] * len(tested)
    return tuple(
        Comparison(one, other, test, p, verdict_of(test, p), p_within)
        for (one, other, test), p, p_within in zip(tested, adjusted, within, strict=True)
    )


def verdict_of(test: PairedTest, p_adjusted: float) -> Verdict:
    """The word for a tested difference; without a significant one, none is claimed."""
    if p_adjusted >= SIGNIFICANT:
        return "no difference shown"
    return "better" if test.difference > 0 else "worse"
