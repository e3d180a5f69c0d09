"""Calibration against bins made by hand, and temperatures against those that the logits were spoilt by."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from selfsup.evaluation import linear_probe
from selfsup.evaluation.evaluators.calibration import calibrated_error, expected_calibration_error, fit_temperature
from selfsup.evaluation.linear_probe import LinearProbe


def test_the_error_is_the_gap_between_confidence_and_accuracy_weighted_by_the_bins() -> None:
    """Four images in the bin of 0.9, of which three are right, and one in that of 0.6, which is wrong."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.4, 0.6]])
    true = np.array([0, 0, 1, 1, 0])
    assert expected_calibration_error(true, probabilities) == pytest.approx(4 / 5 * (0.9 - 3 / 4) + 1 / 5 * 0.6)


def test_gaps_within_a_bin_make_up_for_each_other_and_those_of_two_bins_do_not() -> None:
    sure, unsure = [1.0, 0.0], [0.55, 0.45]
    assert expected_calibration_error(np.array([0, 1]), np.array([[0.5, 0.5]] * 2)) == 0
    assert expected_calibration_error(np.array([0, 0]), np.array([sure, sure])) == 0
    assert expected_calibration_error(np.array([1, 0]), np.array([sure, unsure])) == pytest.approx((1 + 0.45) / 2)


def test_the_temperature_is_the_one_that_the_logits_were_multiplied_by() -> None:
    """Classes drawn from the softmax of some logits are calibrated; so these, times 3, have a temperature of 3."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 4))
    true = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    assert fit_temperature(logits, true) == pytest.approx(1, abs=0.03)
    assert fit_temperature(3 * logits, true) == pytest.approx(3 * fit_temperature(logits, true), rel=1e-3)
    confident = np.exp(3 * logits) / np.exp(3 * logits).sum(1, keepdims=True)
    honest = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert expected_calibration_error(true, honest) < 0.02 < 0.1 < expected_calibration_error(true, confident)


def test_the_temperature_is_scikit_learns() -> None:
    x, y = load_digits(return_X_y=True)
    classifier = LogisticRegression(C=100, max_iter=2000).fit(x[:300], y[:300])
    calibrated = CalibratedClassifierCV(FrozenEstimator(classifier), method="temperature").fit(x[300:900], y[300:900])
    inverse = calibrated.calibrated_classifiers_[0].calibrators[0].beta_
    assert fit_temperature(classifier.decision_function(x[300:900]), y[300:900]) == pytest.approx(1 / inverse, rel=1e-2)


def test_images_of_a_class_that_the_classifier_does_not_know_have_no_say() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (500, 4))
    true = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    unknown = np.where(np.arange(5) == 4, -np.inf, np.zeros((7, 5)))
    more = np.concatenate([np.c_[logits, np.full(500, -np.inf)], unknown])
    assert fit_temperature(more, np.r_[true, np.full(7, 4)]) == pytest.approx(fit_temperature(logits, true))


@pytest.mark.parametrize("count", [0, 3])
def test_where_all_is_right_there_is_no_temperature(count: int) -> None:
    assert np.isnan(fit_temperature(np.eye(3)[:count], np.arange(count)))


def test_logits_that_are_looked_at_in_parts_are_calibrated_as_they_are_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, true = rng.normal(size=(50, 6)), rng.integers(0, 4, 50)
    probe = LinearProbe(np.zeros(6), np.ones(6), rng.normal(size=(4, 6)), rng.normal(size=4), 1.0, 0.5)
    logits = probe.logits(x)
    temperature = fit_temperature(logits, true)
    probabilities = np.exp(logits / temperature) / np.exp(logits / temperature).sum(axis=1, keepdims=True)
    expected = expected_calibration_error(true, probabilities)
    for images in (1, 7, 50):
        monkeypatch.setattr(linear_probe, "MOST_ENTRIES", 4 * images)
        assert fit_temperature(logits, true) == pytest.approx(temperature, rel=1e-5)
        assert calibrated_error(probe, x, true, temperature) == pytest.approx(expected)
