"""Which classes were taken for which, kept as the pairs that occur: with thousands of classes, few of all do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selfsup.csv_files import csv_text

#: Most classes of which the whole matrix is drawn, and how many are drawn of more: those with the most confusions.
MOST_DRAWN, DRAWN_OF_MORE = 100, 30


@dataclass(frozen=True)
class Confusions:
    """Counts of pairs of a true and a predicted class; arrays of int64, sorted by true class, then by predicted one.

    Attributes
    ----------
    true, predicted, counts : ndarray of int64, shape (pairs,)
        Only of pairs that occur.
    """

    true: np.ndarray
    predicted: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, true: np.ndarray, predicted: np.ndarray) -> Confusions:
        """Those of predictions, int64 of shape (n,) each."""
        (rows, columns), counts = np.unique(np.stack([true, predicted]), axis=1, return_counts=True)
        return cls(rows, columns, counts.astype(np.int64))

    @property
    def errors(self) -> Confusions:
        """Those of a class with another."""
        wrong = self.true != self.predicted
        return Confusions(self.true[wrong], self.predicted[wrong], self.counts[wrong])

    def totals(self, classes: int) -> np.ndarray:
        """Images of each true class, int64, shape (classes,)."""
        return np.bincount(self.true, self.counts, classes).astype(np.int64)

    def drawn(self, classes: int, most: int = MOST_DRAWN, of_more: int = DRAWN_OF_MORE) -> np.ndarray:
        """The classes whose matrix is drawn, ascending: all, or of more than `most` those with the most confusions.

        A confusion counts for both of its classes; of equal ones the first are taken.
        """
        if classes <= most:
            return np.arange(classes)
        errors = self.errors
        involved = sum(np.bincount(side, errors.counts, classes) for side in (errors.true, errors.predicted))
        return np.sort(np.argsort(-np.asarray(involved), kind="stable")[:of_more])

    def among(self, classes: np.ndarray) -> np.ndarray:
        """The matrix of these classes, ascending: int64, shape (k, k), true classes in rows."""
        inside = np.isin(self.true, classes) & np.isin(self.predicted, classes)
        matrix = np.zeros((len(classes), len(classes)), np.int64)
        places = (np.searchsorted(classes, side[inside]) for side in (self.true, self.predicted))
        matrix[tuple(places)] = self.counts[inside]
        return matrix

    def csv(self, classes: Sequence[str]) -> str:
        """A CSV with a row for each pair that occurs: true class, predicted class, number of images."""
        names = ((classes[i], classes[j]) for i, j in zip(self.true.tolist(), self.predicted.tolist(), strict=True))
        return csv_text(
            ["true", "predicted", "count"], [(*n, c) for n, c in zip(names, self.counts.tolist(), strict=True)]
        )
