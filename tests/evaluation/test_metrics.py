"""What methods are chosen and compared by, against scikit-learn, and by taking single images away."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score

from selfsup.evaluation.metrics import METRICS, very_unequal


def draw(images: int = 200, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """True classes, unequal ones, and probabilities that know a little of them."""
    rng = np.random.default_rng(seed)
    true = rng.choice(classes, images, p=np.arange(1, classes + 1) / sum(range(classes + 1)))
    scores = rng.normal(0, 1, (images, classes)).round(1)  # with ties
    scores[np.arange(images), true] += 1
    return true, np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


def test_every_metric_is_scikit_learns():
    true, probabilities = draw()
    predicted = probabilities.argmax(axis=1)
    expected = {
        "accuracy": accuracy_score(true, predicted),
        "balanced-accuracy": balanced_accuracy_score(true, predicted),
        "macro-f1": f1_score(true, predicted, average="macro"),
        "auroc": roc_auc_score(true, probabilities, multi_class="ovr", average="macro"),
    }
    assert {name: metric.value(true, probabilities) for name, metric in METRICS.items()} == pytest.approx(expected)


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


@pytest.mark.parametrize("name", ["balanced-accuracy", "macro-f1", "auroc"])
def test_what_an_image_contributes_is_what_the_metric_loses_without_it(name):
    true, probabilities = draw(400)
    metric = METRICS[name]
    contributions = metric.contributions(true, probabilities.argmax(axis=1), probabilities)
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
