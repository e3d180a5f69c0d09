"""What methods are chosen and compared by, against scikit-learn, and by taking single images away."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    roc_auc_score,
)

from selfsup.evaluation.metrics import METRICS, metrics_for, predictions, very_unequal


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
