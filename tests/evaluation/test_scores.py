"""Scores against scikit-learn's."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    precision_recall_fscore_support,
    roc_auc_score,
)

from selfsup.evaluation.scores import label_scores_csv, per_class_csv

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


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
