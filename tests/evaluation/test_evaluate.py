"""A evaluation fits on train, chooses on validation and quotes the test images alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, f1_score

from selfsup.evaluation.evaluators.clusters import find_clusters
from selfsup.evaluation.evaluators.few_shot import few_shot
from selfsup.evaluation.evaluators.knn import knn_predict
from selfsup.evaluation.evaluators.probe import (
    MEASURED_IMAGES,
    Criteria,
    Embedded,
    evaluate_with_labels,
    evaluate_without_labels,
    structure,
    structure_of_views,
    views_wanted,
)
from selfsup.evaluation.evaluators.structure import alignment, alpha_req, effective_rank, feature_std, lidar, uniformity
from selfsup.evaluation.linear_probe import fit_linear_probe

DATA = load_digits()
FEATURES, LABELS = DATA.data[:320].astype(np.float32), DATA.target[:320].astype(np.int64)
TRAIN, VAL, TEST = np.arange(0, 320, 4), np.arange(1, 320, 4), np.arange(2, 320, 4)


def embedded(indices: np.ndarray) -> Embedded:
    return Embedded(indices, FEATURES[indices])


ALL = embedded(np.sort(np.concatenate([TRAIN, VAL, TEST])))


def judge(labels: np.ndarray = LABELS, *, val: np.ndarray = VAL, **criteria):  # type: ignore[no-untyped-def]
    return evaluate_with_labels(
        ALL, labels, train=TRAIN, val=val, test=TEST, num_classes=10, criteria=Criteria(**criteria)
    )


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
    assert columns["probe_strength"] == probe.C
    assert columns["embedding_std"] == feature_std(FEATURES[TEST])
    assert columns["effective_rank"] == effective_rank(FEATURES[TEST])
    assert columns["alpha_req"] == alpha_req(FEATURES[TEST])
    clusters = find_clusters(FEATURES[TEST], candidates=(10,))
    assert (columns["clusters"], columns["silhouette"]) == (10, clusters.silhouette)
    assert columns["cluster_stability"] == clusters.stability
    assert 0.8 < columns["test_accuracy"] < 1


def test_the_few_shot_columns_are_those_of_five_images_per_class() -> None:
    train = np.setdiff1d(np.arange(320), np.concatenate([VAL, TEST]))
    rest = Embedded(np.arange(320), FEATURES)
    evaluation = evaluate_with_labels(rest, LABELS, train=train, val=VAL, test=TEST, num_classes=10)
    shots = few_shot(FEATURES[train], LABELS[train], FEATURES[TEST], LABELS[TEST])
    assert list(evaluation.few_shot) == shots
    (five,) = (shot for shot in shots if shot.k == 5)
    assert (evaluation.columns["few_shot_accuracy"], evaluation.columns["few_shot_sd"]) == (five.mean, five.sd)


def test_criteria_decide_how_neighbours_vote_and_the_probe_is_fitted() -> None:
    plain, other = judge(), judge(neighbours=1, temperature=0.5)
    one = knn_predict(FEATURES[TRAIN], LABELS[TRAIN], FEATURES[TEST], num_classes=10, k=1)
    assert other.columns["knn_accuracy"] == pytest.approx(accuracy_score(LABELS[TEST], one))
    assert other.columns["knn_accuracy"] != plain.columns["knn_accuracy"]
    by_sgd = judge(probe="sgd")
    assert by_sgd.columns["test_accuracy"] == pytest.approx(plain.columns["test_accuracy"], abs=0.1)
    assert (by_sgd.probe.weight != plain.probe.weight).any()


def test_views_tell_what_their_own_functions_give() -> None:
    views = FEATURES[TEST] + np.random.default_rng(0).normal(size=(2, len(TEST), 64))
    assert structure_of_views(views) == {
        "alignment": alignment(*views),
        "uniformity": uniformity(views[0]),
        "lidar": lidar(views),
    }


@pytest.mark.parametrize(("images", "width", "views"), [(1000, 512, 2), (512, 512, 2), (360, 512, 3), (100, 512, 7)])
def test_as_many_views_are_taken_as_lidar_needs(images: int, width: int, views: int) -> None:
    assert views_wanted(images, width) == views
    assert images * (views - 1) >= width
    assert views == 2 or images * (views - 2) < width


def test_measures_without_labels_look_at_a_sample_of_many_images() -> None:
    many = np.random.default_rng(0).normal(size=(MEASURED_IMAGES + 500, 8)).astype(np.float32)
    columns = evaluate_without_labels(Embedded(np.arange(len(many)), many), seed=0).columns
    assert columns["effective_rank"] != effective_rank(many)
    assert columns["effective_rank"] == pytest.approx(effective_rank(many), rel=0.01)


def test_test_labels_decide_nothing_but_the_scores() -> None:
    """With the test labels shuffled, the probe, its C and its predictions stay the same."""
    honest = judge()
    shuffled = LABELS.copy()
    shuffled[TEST] = np.roll(LABELS[TEST], 7)
    other = judge(shuffled)
    assert (other.predicted == honest.predicted).all()
    assert other.columns["val_accuracy"] == honest.columns["val_accuracy"]
    assert other.columns["probe_strength"] == honest.columns["probe_strength"]
    assert other.columns["test_accuracy"] < 0.5 < honest.columns["test_accuracy"]


def test_rows_are_the_test_images_with_predictions_and_their_probability() -> None:
    evaluation = judge()
    assert (evaluation.indices == TEST).all()
    assert (evaluation.features == FEATURES[TEST]).all()
    assert (evaluation.labels == LABELS[TEST]).all()
    probabilities = evaluation.probe.probabilities(FEATURES[TEST])
    assert (evaluation.predicted == probabilities.argmax(axis=1)).all()
    np.testing.assert_allclose(evaluation.confidence, probabilities.max(axis=1), rtol=1e-6)
    assert evaluation.confidence.dtype == np.float32
    assert evaluation.scores.confusion.sum() == len(TEST)


def test_no_validation_images_leave_their_accuracy_unknown() -> None:
    columns = judge(val=np.empty(0, np.int64)).columns
    assert np.isnan(columns["val_accuracy"])
    assert columns["test_accuracy"] > 0.8


def test_without_labels_clusters_take_the_place_of_classes() -> None:
    evaluation = evaluate_without_labels(embedded(TEST), seed=1)
    clusters = find_clusters(FEATURES[TEST], seed=1)
    assert (evaluation.predicted == clusters.labels).all()
    assert evaluation.columns == {
        "clusters": clusters.count,
        "cluster_stability": clusters.stability,
        "silhouette": clusters.silhouette,
        **structure(FEATURES[TEST]),
    }
    assert set(evaluation.labels) == {-1}
    assert np.isnan(evaluation.confidence).all()
    assert evaluation.probe is None
    assert evaluation.scores is None
