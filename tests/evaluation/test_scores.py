"""Scores against scikit-learn's."""

from __future__ import annotations

import csv
import io
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    precision_recall_fscore_support,
    roc_auc_score,
)

from selfsup.evaluation.scores import label_scores_csv, macro_auroc, per_class_csv, score

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@settings(max_examples=30)
@given(PAIRS)
def test_scores_are_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    true, predicted = np.array(pairs).T
    scores = score(true, predicted, num_classes=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that are predicted and not tested
        balanced = balanced_accuracy_score(true, predicted)
    assert scores.accuracy == pytest.approx(accuracy_score(true, predicted))
    assert scores.balanced_accuracy == pytest.approx(balanced)
    tested = np.unique(true)
    assert scores.macro_f1 == pytest.approx(f1_score(true, predicted, labels=tested, average="macro", zero_division=0))


def test_a_class_that_was_not_tested_lowers_no_mean() -> None:
    scores = score(np.array([0, 0, 1]), np.array([0, 0, 1]), num_classes=5)
    assert (scores.accuracy, scores.balanced_accuracy, scores.macro_f1) == (1, 1, 1)


def test_always_the_majority_is_not_balanced() -> None:
    scores = score(np.array([0] * 9 + [1]), np.zeros(10, np.int64), num_classes=2)
    assert (scores.accuracy, scores.balanced_accuracy) == (0.9, 0.5)
    assert scores.macro_f1 == pytest.approx((2 * 9 / 19 + 0) / 2)


@settings(max_examples=30)
@given(PAIRS)
def test_the_report_per_class_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    true, predicted = np.array(pairs).T
    names = ["a", 'b "quoted", with comma', "ü", "<d>"]
    rows = list(csv.DictReader(io.StringIO(per_class_csv(true, predicted, names))))
    assert [row["class"] for row in rows] == names
    expected = precision_recall_fscore_support(true, predicted, labels=range(4), zero_division=0)
    for column, values in zip(("precision", "recall", "f1", "test_images"), expected, strict=True):
        assert [float(row[column]) for row in rows] == pytest.approx(list(values), abs=1e-6)


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    """Mann and Whitney: of all pairs of an image of the class and one of the rest, a tie counting half."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 60)
    probabilities = rng.dirichlet(np.ones(4), 60).round(1)  # with ties, and a class that is not tested
    areas = []
    for label in range(3):
        inside, outside = probabilities[true == label, label], probabilities[true != label, label]
        pairs = [(a > b) + (a == b) / 2 for a in inside for b in outside]
        areas.append(sum(pairs) / len(pairs))
    assert macro_auroc(true, probabilities) == pytest.approx(np.mean(areas))


def test_auroc_of_many_classes_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 40, 300)
    probabilities = rng.dirichlet(np.ones(50), 300).round(2) + 0.01 * (true[:, None] == np.arange(50))
    tested = np.unique(true)
    expected = roc_auc_score(true[:, None] == tested, probabilities[:, tested], average="macro")
    assert macro_auroc(true, probabilities) == pytest.approx(expected, rel=1e-12)


def test_auroc_of_two_classes_is_that_of_either() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6]])
    assert macro_auroc(np.array([0, 0, 1, 1]), probabilities) == 1
    assert macro_auroc(np.array([0, 1, 0, 1]), probabilities) == pytest.approx(3 / 4)


def test_auroc_of_a_single_class_is_unknown() -> None:
    assert np.isnan(macro_auroc(np.array([1, 1]), np.array([[0.2, 0.8], [0.6, 0.4]])))


def test_the_scores_of_each_label_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    true = rng.random((80, 3)) < [0.1, 0.5, 0.0]
    probabilities = np.clip(0.4 * true + 0.6 * rng.random(true.shape), 0, 1).round(2)
    rows = list(csv.DictReader(io.StringIO(label_scores_csv(true, probabilities, ["cow", "grass", "yeti"]))))
    assert [row["label"] for row in rows] == ["cow", "grass", "yeti"]
    precision, recall, f1, images = precision_recall_fscore_support(true[:, :2], probabilities[:, :2] >= 0.5)
    expected = {
        "average_precision": average_precision_score(true[:, :2], probabilities[:, :2], average=None),
        "auroc": roc_auc_score(true[:, :2], probabilities[:, :2], average=None),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "test_images": images,
    }
    for name, values in expected.items():
        assert [float(row[name]) for row in rows[:2]] == pytest.approx(values, abs=1e-6)
    assert {name: rows[2][name] for name in expected} == dict.fromkeys(expected, "") | {"test_images": "0"}


def test_label_sets_have_no_accuracy() -> None:
    true = np.array([[True, False], [True, True], [False, True]])
    predicted = np.array([[True, True], [True, True], [False, True]])
    scores = score(true, predicted, num_classes=2)
    assert np.isnan([scores.accuracy, scores.balanced_accuracy]).all()
    assert scores.macro_f1 == pytest.approx(f1_score(true, predicted, average="macro"))
