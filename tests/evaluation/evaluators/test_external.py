"""The external test: the numbers of the test images on other ones, and nothing that is fitted to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from selfsup.evaluation.evaluators import auroc, external, knn, probe
from selfsup.testing.evaluators import evaluation_of_digits

CELL = evaluation_of_digits()


def test_on_the_test_images_its_numbers_are_those_of_the_test() -> None:
    found = external.evaluator.evaluate(replace(CELL, external=CELL.test))
    of_probe = probe.evaluator.evaluate(CELL)
    assert found.values == {
        "external_accuracy": of_probe.values["test_accuracy"],
        "external_balanced_accuracy": of_probe.values["test_balanced_accuracy"],
        "external_macro_f1": of_probe.values["test_macro_f1"],
        "external_auroc": auroc.evaluator.evaluate(CELL).values["auroc"],
        "external_knn_accuracy": knn.evaluator.evaluate(CELL).values["knn_accuracy"],
    }
    assert np.array_equal(found.arrays["external"]["predicted"], of_probe.predicted)


def test_its_labels_change_no_prediction_and_other_images_no_number_of_the_test() -> None:
    other = replace(CELL.test, y=(CELL.test.y + 1) % 10)
    one, two = (external.evaluator.evaluate(replace(CELL, external=part)) for part in (CELL.test, other))
    assert np.array_equal(one.arrays["external"]["predicted"], two.arrays["external"]["predicted"])
    assert probe.evaluator.evaluate(replace(CELL, external=other)).values == probe.evaluator.evaluate(CELL).values


def test_classes_that_it_lacks_do_not_count() -> None:
    rows = CELL.test.y < 3
    some = replace(CELL.test, indices=CELL.test.indices[rows], x=CELL.test.x[rows], y=CELL.test.y[rows])
    found = external.evaluator.evaluate(replace(CELL, external=some))
    recall = [(found.arrays["external"]["predicted"] == k)[some.y == k].mean() for k in range(3)]
    assert found.values["external_balanced_accuracy"] == np.mean(recall)


def test_a_study_without_one_has_no_such_numbers() -> None:
    assert external.evaluator.evaluate(replace(CELL, external=None)).values == {}
