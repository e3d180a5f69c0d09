"""A judgement fits on train, chooses on validation and quotes the test images alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, f1_score

from selfsup.evaluate.clustering import find_clusters
from selfsup.evaluate.judgement import Embedded, judge_by_labels, judge_by_structure
from selfsup.evaluate.knn import knn_predict
from selfsup.evaluate.label_free import effective_rank, spread
from selfsup.evaluate.linear_probe import fit_linear_probe

DATA = load_digits()
FEATURES, LABELS = DATA.data[:320].astype(np.float32), DATA.target[:320].astype(np.int64)
TRAIN, VAL, TEST = np.arange(0, 320, 4), np.arange(1, 320, 4), np.arange(2, 320, 4)


def embedded(indices: np.ndarray) -> Embedded:
    return Embedded(indices, FEATURES[indices])


ALL = embedded(np.sort(np.concatenate([TRAIN, VAL, TEST])))


def judge(labels: np.ndarray = LABELS, *, train: np.ndarray = TRAIN, val: np.ndarray = VAL):  # type: ignore[no-untyped-def]
    return judge_by_labels(ALL, labels, train=train, val=val, test=TEST, num_classes=10)


def test_embeddings_are_found_by_their_place_in_the_store() -> None:
    assert (ALL.of(np.array([302, 2, 5])) == FEATURES[[302, 2, 5]]).all()


def test_columns_are_what_their_own_functions_give() -> None:
    columns = judge().columns
    probe = fit_linear_probe(FEATURES[TRAIN], LABELS[TRAIN], FEATURES[VAL], LABELS[VAL], num_classes=10)
    predicted = probe.predict(FEATURES[TEST])
    neighbours = knn_predict(FEATURES[TRAIN], LABELS[TRAIN], FEATURES[TEST], num_classes=10)
    assert columns["test_accuracy"] == pytest.approx(accuracy_score(LABELS[TEST], predicted))
    assert columns["test_macro_f1"] == pytest.approx(f1_score(LABELS[TEST], predicted, average="macro"))
    assert columns["knn_accuracy"] == pytest.approx(accuracy_score(LABELS[TEST], neighbours))
    assert columns["val_accuracy"] == pytest.approx(accuracy_score(LABELS[VAL], probe.predict(FEATURES[VAL])))
    assert columns["probe_strength"] == probe.strength
    assert columns["embedding_std"] == spread(FEATURES[TEST])
    assert columns["effective_rank"] == effective_rank(FEATURES[TEST])
    assert 0.8 < columns["test_accuracy"] < 1


def test_test_labels_decide_nothing_but_the_scores() -> None:
    """With the test labels shuffled, the probe, its strength and its predictions stay the same."""
    honest = judge()
    shuffled = LABELS.copy()
    shuffled[TEST] = np.roll(LABELS[TEST], 7)
    other = judge(shuffled)
    assert (other.predicted == honest.predicted).all()
    assert other.columns["val_accuracy"] == honest.columns["val_accuracy"]
    assert other.columns["probe_strength"] == honest.columns["probe_strength"]
    assert other.columns["test_accuracy"] < 0.5 < honest.columns["test_accuracy"]


def test_rows_are_the_test_images_with_predictions_and_their_probability() -> None:
    judgement = judge()
    assert (judgement.indices == TEST).all()
    assert (judgement.features == FEATURES[TEST]).all()
    assert (judgement.labels == LABELS[TEST]).all()
    probabilities = judgement.probe.probabilities(FEATURES[TEST])
    assert (judgement.predicted == probabilities.argmax(axis=1)).all()
    np.testing.assert_allclose(judgement.confidence, probabilities.max(axis=1), rtol=1e-6)
    assert judgement.confidence.dtype == np.float32
    assert judgement.scores.confusion.sum() == len(TEST)


def test_no_validation_images_leave_their_accuracy_unknown() -> None:
    columns = judge(val=np.empty(0, np.int64)).columns
    assert np.isnan(columns["val_accuracy"])
    assert columns["test_accuracy"] > 0.8


def test_without_labels_clusters_take_the_place_of_classes() -> None:
    judgement = judge_by_structure(embedded(TEST), seed=1)
    clusters = find_clusters(FEATURES[TEST], seed=1)
    assert (judgement.predicted == clusters.labels).all()
    assert judgement.columns == {
        "clusters": clusters.count,
        "cluster_stability": clusters.stability,
        "silhouette": clusters.silhouette,
        "embedding_std": spread(FEATURES[TEST]),
        "effective_rank": effective_rank(FEATURES[TEST]),
    }
    assert set(judgement.labels) == {-1}
    assert np.isnan(judgement.confidence).all()
    assert judgement.probe is None
    assert judgement.scores is None
