"""Whether the linear probe is as sure as it is right, before and after a temperature (Guo et al. 2017)."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

from selfsup.evaluation.base import Column, Evaluated, Evaluator
from selfsup.evaluation.evaluation_context import EvaluationContext

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
    confidence = probabilities.max(axis=1)
    surplus = confidence - (probabilities.argmax(axis=1) == true)
    bins = np.maximum(np.ceil(confidence * BINS).astype(np.int64) - 1, 0)  # each closed on the right
    return float(abs(np.bincount(bins, surplus)).sum() / len(true))


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
    margins = logits[known] - of_true[known, None]
    if not (margins > 0).any():
        return math.nan
    fitted = minimize_scalar(lambda t: logsumexp(margins / math.exp(t), axis=1).mean(), bounds=BOUNDS)
    return math.exp(fitted.x)


def _evaluate(cell: EvaluationContext) -> Evaluated:
    temperature = fit_temperature(cell.probe.logits(cell.val.x), cell.val.y)
    logits = cell.probe.logits(cell.test.x)
    before = expected_calibration_error(cell.test.y, softmax(logits, axis=1))
    calibrated = softmax(logits / temperature, axis=1)
    after = math.nan if math.isnan(temperature) else expected_calibration_error(cell.test.y, calibrated)
    return Evaluated({"ece": before, "ece_calibrated": after, "temperature": temperature})


COLUMNS = (
    Column("ece", "expected calibration error of the linear probe on test (Guo et al. 2017): mean gap between "
           "confidence and accuracy, over 15 bins of confidence", better="lower"),
    Column("ece_calibrated", "the same after its logits were divided by the temperature", better="lower"),
    Column("temperature", "temperature of the linear probe: the one with the smallest cross entropy on validation; "
           "empty where every validation image is right, for then none is", form=".3g"),
)  # fmt: skip
evaluator = Evaluator(_evaluate, COLUMNS, needs_labels=True, default=True, order=92)
