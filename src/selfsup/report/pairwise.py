"""Methods against each other, on the same test images and seeds."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from selfsup.report.findings import Choice, Comparison, Verdict
from selfsup.report.recorded import RecordedStudy, StoredEmbeddings
from selfsup.report.statistics import Interval, PairedTest, accuracy_interval, holm, paired_test

SIGNIFICANT = 0.05


class Outcomes:
    """Where each cell is right, read once from the study's folder.

    Parameters
    ----------
    study : RecordedStudy
    """

    def __init__(self, study: RecordedStudy) -> None:
        self._study = study
        self._embeddings = cache(study.embeddings)

    def interval(self, cells: Iterable[str]) -> Interval | None:
        """Interval of the mean accuracy of cells that differ in their seed; None where nothing is known of them."""
        found = [e for cell in cells if (e := self._embeddings(cell)) is not None and len(e.indices)]
        alike = [e for e in found if np.array_equal(e.indices, found[0].indices)]
        if not alike or (alike[0].labels < 0).any():
            return None
        return accuracy_interval(np.stack([e.correct for e in alike]), self._groups(alike[0].indices))

    def compare(self, one: Choice, other: Choice) -> PairedTest | None:
        """Paired test over the seeds that both have; None where they share no test images."""
        first, second = self._by_seed(one), self._by_seed(other)
        pairs = [(first[seed], second[seed]) for seed in sorted(first.keys() & second.keys())]
        alike = [(a, b) for a, b in pairs if np.array_equal(a.indices, b.indices)]
        alike = [(a, b) for a, b in alike if np.array_equal(a.indices, alike[0][0].indices)]
        if not alike:
            return None
        first_right, second_right = (np.stack([pair[side].correct for pair in alike]) for side in (0, 1))
        return paired_test(first_right, second_right, self._groups(alike[0][0].indices))

    def _by_seed(self, choice: Choice) -> dict[int, StoredEmbeddings]:
        read = {self._seeds[cell]: self._embeddings(cell) for cell in choice.cells}
        return {seed: embeddings for seed, embeddings in read.items() if embeddings is not None}

    @cached_property
    def _seeds(self) -> dict[str, int]:
        results = self._study.results
        return dict(zip(results["cell"], results["seed"].astype(int), strict=True))

    def _groups(self, indices: NDArray[np.int64]) -> NDArray[np.int64] | None:
        return None if self._study.groups is None else self._study.groups[indices]


def against_the_others(outcomes: Outcomes, best: Choice, choices: Iterable[Choice]) -> tuple[Comparison, ...]:
    """`best` against each other method at the same number of images, corrected together."""
    return _corrected(outcomes, [(best, c) for c in choices if c.per_class == best.per_class and c.name != best.name])


def gains_by_training(
    outcomes: Outcomes, best_of_each_size: Iterable[Choice], choices: Iterable[Choice]
) -> tuple[Comparison, ...]:
    """What training gains at each number of images over the network without training that comes nearest.

    Better than all of them is tested by the largest of the p-values (an intersection-union test: Berger 1982,
    Technometrics 24), worse than one of them by the smallest, times their number; both then Holm-corrected for the
    numbers of images.
    """
    untrained = [c for c in choices if not c.trains]
    found = []
    for best in best_of_each_size:
        rivals = [c for c in untrained if best.trains and c.per_class == best.per_class]
        tested = [(c, test) for c in rivals if (test := outcomes.compare(best, c)) is not None]
        if tested:
            rival, test = min(tested, key=lambda pair: pair[1].difference)
            p_values = [test.p_value for _, test in tested]
            p = max(p_values) if test.difference > 0 else min(1.0, min(p_values) * len(tested))
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
    return tuple(
        Comparison(one, other, test, p, verdict_of(test, p))
        for (one, other, test), p in zip(tested, adjusted, strict=True)
    )


def verdict_of(test: PairedTest, p_adjusted: float) -> Verdict:
    """The word for a tested difference; without a significant one, none is claimed."""
    if p_adjusted >= SIGNIFICANT:
        return "no difference shown"
    return "better" if test.difference > 0 else "worse"
