"""What methods are chosen and compared by, against scikit-learn, and by taking single images away."""

from __future__ import annotations

import math
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
    roc_auc_score,
)

from selfsup.evaluation.metrics import METRICS, metrics_for, predictions, very_unequal

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


def draw(images: int = 200, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """True classes, unequal ones, and probabilities that know a little of them."""
    rng = np.random.default_rng(seed)
    true = rng.choice(classes, images, p=np.arange(1, classes + 1) / sum(range(classes + 1)))
    scores = rng.normal(0, 1, (images, classes)).round(1)  # with ties
    scores[np.arange(images), true] += 1
    return true, np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


def draw_labels(images: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Which of four labels, unequal ones, images have, and probabilities that know a little of them."""
    rng = np.random.default_rng(seed)
    true = rng.random((images, 4)) < [0.1, 0.2, 0.4, 0.7]
    scores = rng.normal(0, 1, true.shape).round(1) + 2 * true - 1  # with ties
    return true, 1 / (1 + np.exp(-scores))


def test_every_metric_is_scikit_learns():
    true, probabilities = draw()
    predicted = probabilities.argmax(axis=1)
    expected = {
        "accuracy": accuracy_score(true, predicted),
        "balanced-accuracy": balanced_accuracy_score(true, predicted),
        "macro-f1": f1_score(true, predicted, average="macro"),
        "auroc": roc_auc_score(true, probabilities, multi_class="ovr", average="macro"),
        "map": average_precision_score(np.eye(4)[true], probabilities, average="macro"),
    }
    assert {name: metric.value(true, probabilities) for name, metric in METRICS.items()} == pytest.approx(expected)


@settings(max_examples=30)
@given(PAIRS)
def test_metrics_of_classes_are_scikit_learns_whatever_is_predicted(pairs):
    true, predicted = np.array(pairs).T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that are predicted and not tested
        balanced = balanced_accuracy_score(true, predicted)
    f1 = f1_score(true, predicted, labels=np.unique(true), average="macro", zero_division=0)
    expected = {"accuracy": accuracy_score(true, predicted), "balanced-accuracy": balanced, "macro-f1": f1}
    assert {name: METRICS[name].value(true, np.eye(4)[predicted]) for name in expected} == pytest.approx(expected)


def test_always_the_majority_is_not_balanced():
    true, probabilities = np.array([0] * 9 + [1]), np.eye(2)[np.zeros(10, np.int64)]
    found = {name: METRICS[name].value(true, probabilities) for name in ("accuracy", "balanced-accuracy", "macro-f1")}
    assert found == pytest.approx({"accuracy": 0.9, "balanced-accuracy": 0.5, "macro-f1": (2 * 9 / 19 + 0) / 2})


def test_auroc_is_the_share_of_pairs_in_the_right_order():
    """Mann and Whitney: of all pairs of an image of the class and one of the rest, a tie counting half."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 60)
    probabilities = rng.dirichlet(np.ones(4), 60).round(1)  # with ties, and a class that is not tested
    areas = []
    for label in range(3):
        inside, outside = probabilities[true == label, label], probabilities[true != label, label]
        pairs = [(a > b) + (a == b) / 2 for a in inside for b in outside]
        areas.append(sum(pairs) / len(pairs))
    assert METRICS["auroc"].value(true, probabilities) == pytest.approx(np.mean(areas))


def test_auroc_of_many_classes_is_scikit_learns():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 40, 300)
    probabilities = rng.dirichlet(np.ones(50), 300).round(2) + 0.01 * (true[:, None] == np.arange(50))
    tested = np.unique(true)
    expected = roc_auc_score(true[:, None] == tested, probabilities[:, tested], average="macro")
    assert METRICS["auroc"].value(true, probabilities) == pytest.approx(expected, rel=1e-12)


def test_auroc_of_two_classes_is_that_of_either():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6]])
    assert METRICS["auroc"].value(np.array([0, 0, 1, 1]), probabilities) == 1
    assert METRICS["auroc"].value(np.array([0, 1, 0, 1]), probabilities) == pytest.approx(3 / 4)


def test_auroc_of_a_single_class_is_unknown():
    assert np.isnan(METRICS["auroc"].value(np.array([1, 1]), np.array([[0.2, 0.8], [0.6, 0.4]])))


def test_every_metric_of_several_labels_is_scikit_learns():
    true, probabilities = draw_labels()
    expected = {
        "map": average_precision_score(true, probabilities, average="macro"),
        "macro F1": f1_score(true, probabilities >= 0.5, average="macro"),
        "AUROC": roc_auc_score(true, probabilities, average="macro"),
    }
    found = {metric.words: metric.value(true, probabilities) for metric in metrics_for(several=True)}
    assert found == pytest.approx(expected | {"mAP": expected.pop("map")})


def test_a_label_that_no_image_has_counts_in_none_and_one_that_all_have_in_no_auroc():
    true, probabilities = draw_labels()
    true[:, 1], true[:, 2] = False, True
    values = {metric.words: metric.value(true, probabilities) for metric in metrics_for(several=True)}
    tested, known = [0, 2, 3], [0, 3]
    assert values["mAP"] == pytest.approx(average_precision_score(true[:, tested], probabilities[:, tested]))
    assert values["macro F1"] == pytest.approx(
        f1_score(true[:, tested], probabilities[:, tested] >= 0.5, average="macro")
    )
    assert values["AUROC"] == pytest.approx(roc_auc_score(true[:, known], probabilities[:, known]))


def test_a_class_that_was_not_tested_counts_in_none():
    true, probabilities = draw(classes=5)
    kept = true != 2
    true, probabilities = true[kept], probabilities[kept]
    predicted = probabilities.argmax(axis=1)
    tested = [0, 1, 3, 4]
    assert (predicted == 2).any()
    values = {name: metric.value(true, probabilities) for name, metric in METRICS.items()}
    assert values["balanced-accuracy"] == pytest.approx(np.mean([(predicted[true == c] == c).mean() for c in tested]))
    assert values["macro-f1"] == pytest.approx(f1_score(true, predicted, labels=tested, average="macro"))
    areas = [roc_auc_score(true == c, probabilities[:, c]) for c in tested]
    assert values["auroc"] == pytest.approx(np.mean(areas))


@pytest.mark.parametrize(
    ("name", "several"),
    [("balanced-accuracy", False), *((name, several) for name in ("macro-f1", "auroc", "map") for several in (0, 1))],
)
def test_what_an_image_contributes_is_what_the_metric_loses_without_it(name, several):
    true, probabilities = draw_labels(400) if several else draw(400)
    metric = METRICS[name]
    contributions = metric.contributions(true, predictions(probabilities, several=several), probabilities)
    whole = contributions.mean()
    without = []
    for image in range(40):
        rest = np.delete(np.arange(400), image)
        without.append(metric.value(true[rest], probabilities[rest]))
    # The jackknife's pseudo-values (Quenouille, 1956), from which the amounts differ in the order of 1 / images.
    pseudo = 400 * whole - 399 * np.array(without)
    assert contributions[:40] - whole == pytest.approx(pseudo - whole, rel=0.1, abs=0.05)


def test_of_one_class_there_is_no_auroc_and_of_no_image_nothing():
    probabilities = np.full((3, 2), 0.5)
    assert math.isnan(METRICS["auroc"].value(np.zeros(3, np.int64), probabilities))
    assert math.isnan(METRICS["accuracy"].value(np.zeros(0, np.int64), probabilities[:0]))


@pytest.mark.parametrize(
    ("counts", "unequal"), [([10, 50], True), ([10, 49], False), ([0, 10, 12], False), ([7], False), ([], False)]
)
def test_classes_are_very_unequal_from_five_times_as_many_test_images_on(counts, unequal):
    assert very_unequal(counts) == unequal
