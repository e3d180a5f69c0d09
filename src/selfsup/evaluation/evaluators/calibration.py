"""Whether the linear probe is as sure as it is right, before and after a temperature (Guo et al. 2017)."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from selfsup.evaluation.base import Column, Evaluated, Evaluator
from selfsup.evaluation.evaluation_context import EvaluationContext
from selfsup.evaluation.linear_probe import LinearProbe, parts

#: Bins of equal width that confidences are sorted into, as in the paper.
BINS = 15
#: Logarithms of the smallest and the largest temperature.
BOUNDS = (-7.0, 7.0)


def expected_calibration_error(true: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean gap between confidence and accuracy over bins of confidence, weighted by their images (equation 3).

    Parameters
    ----------
    true : ndarray of int64, shape (n,)
    probabilities : ndarray, shape (n, classes)

    Returns
    -------
    float
        In [0, 1].
    """
    return _gap(probabilities.max(axis=1), probabilities.argmax(axis=1) == true)


def _gap(confidence: np.ndarray, right: np.ndarray) -> float:
    surplus = confidence - right
    bins = np.maximum(np.ceil(confidence * BINS).astype(np.int64) - 1, 0)  # each closed on the right
    return float(abs(np.bincount(bins, surplus)).sum() / len(right))


def fit_temperature(logits: np.ndarray, true: np.ndarray) -> float:
    """The temperature that logits are divided by for the smallest mean cross entropy (section 4.2).

    Parameters
    ----------
    logits : ndarray, shape (n, classes)
        -inf for a class that the classifier does not know; its images are left out.
    true : ndarray of int64, shape (n,)

    Returns
    -------
    float
        NaN where no image is left that is classified wrongly, for the smallest temperature would be the best.
    """
    of_true = logits[np.arange(len(true)), true]
    known = np.isfinite(of_true)
    margins = logits[known]
    margins -= of_true[known, None]
    if not (margins > 0).any():
        return math.nan

    def cross_entropy(t: float) -> float:
        divided = (margins[rows] / math.exp(t) for rows in parts(*margins.shape))
        return sum(logsumexp(part, axis=1).sum(dtype=np.float64) for part in divided)

    return math.exp(minimize_scalar(cross_entropy, bounds=BOUNDS).x)


def calibrated_error(probe: LinearProbe, x: np.ndarray, true: np.ndarray, temperature: float) -> float:
    """The expected calibration error on embeddings, shape (n, width), with the probe's logits divided by a temperature.

    NaN where the temperature is.
    """
    if math.isnan(temperature):
        return math.nan
    predicted, confidence = probe.most_probable(x, temperature)
    return _gap(confidence, predicted == true)


def _evaluate(cell: EvaluationContext) -> Evaluated:
    temperature = fit_temperature(cell.probe.logits(cell.val.x), cell.val.y)
    before = expected_calibration_error(cell.test.y, cell.test_probabilities)
    after = calibrated_error(cell.probe, cell.test.x, cell.test.y, temperature)
    return Evaluated({"ece": before, "ece_calibrated": after, "temperature": temperature})


COLUMNS = (
    Column("ece", "expected calibration error of the linear probe on test (Guo et al. 2017): mean gap between "
           "confidence and accuracy, over 15 bins of confidence", better="lower"),
    Column("ece_calibrated", "the same after its logits were divided by the temperature", better="lower"),
    Column("temperature", "temperature of the linear probe: the one with the smallest cross entropy on validation; "
           "empty where every validation image is right, for then none is", form=".3g"),
)  # fmt: skip
evaluator = Evaluator(_evaluate, COLUMNS, needs_labels=True, default=True, order=92)
