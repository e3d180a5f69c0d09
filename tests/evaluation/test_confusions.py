"""Confusions as pairs that occur hold what the whole matrix does."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from selfsup.evaluation.confusions import Confusions


@pytest.fixture
def predictions() -> tuple[np.ndarray, np.ndarray]:
    true, guess = np.random.default_rng(0).integers(0, 150, (2, 600))
    return true, np.where(guess % 3 > 0, true, guess)


def test_every_pair_is_counted_with_the_true_class_in_rows(predictions: tuple[np.ndarray, np.ndarray]) -> None:
    found = Confusions.of(*predictions)
    expected = confusion_matrix(*predictions, labels=np.arange(150))
    np.testing.assert_array_equal(found.among(np.arange(150)), expected)
    np.testing.assert_array_equal(found.totals(150), expected.sum(axis=1))
    np.testing.assert_array_equal(found.among(np.array([3, 40, 99])), expected[np.ix_([3, 40, 99], [3, 40, 99])])


def test_errors_are_what_is_beside_the_diagonal(predictions: tuple[np.ndarray, np.ndarray]) -> None:
    expected = confusion_matrix(*predictions, labels=np.arange(150))
    np.fill_diagonal(expected, 0)
    np.testing.assert_array_equal(Confusions.of(*predictions).errors.among(np.arange(150)), expected)


def test_of_more_than_a_hundred_classes_the_thirty_with_the_most_confusions_are_drawn(
    predictions: tuple[np.ndarray, np.ndarray],
) -> None:
    errors = confusion_matrix(*predictions, labels=np.arange(150))
    np.fill_diagonal(errors, 0)
    drawn = Confusions.of(*predictions).drawn(150)
    involved = errors.sum(axis=0) + errors.sum(axis=1)
    assert len(drawn) == 30
    assert involved[drawn].min() >= np.delete(involved, drawn).max()
    assert Confusions.of(np.array([99]), np.array([0])).drawn(100).tolist() == list(range(100))


def test_the_file_has_a_row_for_each_pair_that_occurs() -> None:
    text = Confusions.of(np.array([1, 0, 1, 1]), np.array([1, 1, 1, 0])).csv(['a, "b"', "ü"])
    assert list(csv.reader(io.StringIO(text))) == [
        ["true", "predicted", "count"],
        ['a, "b"', "ü", "1"],
        ["ü", 'a, "b"', "1"],
        ["ü", "ü", "2"],
    ]
