"""What methods are chosen and compared by, as a mean over test images of what each image contributes.

Accuracy is the mean of right and wrong. The other metrics are not means over images, but change by a known
amount with the weight of each image (the infinitesimal jackknife: Jaeckel 1972; Efron 1982, The jackknife, the
bootstrap and other resampling plans, chapter 6). The metric plus these amounts has the metric as its mean, and
its variance over the images is that of the metric; so one theory of intervals and paired tests holds for all.
Of the AUROC they are the structural components of DeLong, DeLong and Clarke-Pearson (1988).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from selfsup.config.evaluation_fields import MetricName

#: From how many times as many test images of the largest class as of the smallest on classes count as unequal.
UNEQUAL = 5

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """One of them.

    Attributes
    ----------
    words : str
        Its name in a sentence.
    validation, test : str
        Columns of the results with its value for the linear probe.
    contributions : callable
        From the true and the predicted classes, int64 of shape [images], and the classes' probabilities, of shape
        [images, classes], to what each image contributes, of shape [images]: right or wrong, or numbers; NaN where the
        metric cannot be computed.
    by_class : bool
        Whether it is a mean over the classes, each of which counts the same however many images it has.
    step : float
        Where a class has too few images to tell how much they vary, they are taken to vary by this, as a share of what
        right and wrong do; of places among the others, that of places where each is equally likely.
    ranks : bool
        Whether it looks at the probabilities, and not at the predicted classes alone.
    """

    words: str
    validation: str
    test: str
    contributions: Callable[[Ints, Ints, Floats], Floats | NDArray[np.bool_]]
    by_class: bool = True
    step: float = 1.0
    ranks: bool = False

    def value(self, true: Ints, probabilities: Floats) -> float:
        """The metric in [0, 1]; NaN where it cannot be computed, as without images."""
        if not len(true):
            return float("nan")
        return float(self.contributions(true, probabilities.argmax(axis=1), probabilities).mean())


def _accuracy(true: Ints, predicted: Ints, probabilities: Floats) -> NDArray[np.bool_]:
    return np.asarray(predicted == true)


def _balanced_accuracy(true: Ints, predicted: Ints, probabilities: Floats) -> Floats:
    _, of_class, counts = np.unique(true, return_inverse=True, return_counts=True)
    right = predicted == true
    recall = np.bincount(of_class, right) / counts
    return np.asarray(recall.mean() + len(true) / len(counts) * ((right - recall[of_class]) / counts[of_class]))


def _macro_f1(true: Ints, predicted: Ints, probabilities: Floats) -> Floats:
    width = int(max(true.max(), predicted.max())) + 1
    hits = np.bincount(true[predicted == true], minlength=width)
    named = np.bincount(true, minlength=width) + np.bincount(predicted, minlength=width)
    tested = np.isin(np.arange(width), true)
    f1 = np.where(tested, 2 * hits / np.maximum(named, 1), 0.0)
    change = np.where(tested, 1 / np.maximum(named, 1), 0.0)
    changes = 2 * (predicted == true) * change[true] - (f1 * change)[true] - (f1 * change)[predicted]
    return np.asarray(f1.sum() / tested.sum() + len(true) / tested.sum() * changes)


def _auroc(true: Ints, predicted: Ints, probabilities: Floats) -> Floats:
    from scipy.stats import rankdata

    tested = np.unique(true)
    if len(tested) < 2:
        return np.full(len(true), np.nan)
    total = np.zeros(len(true))
    for number in tested:
        scores, of_it = probabilities[:, number], true == number
        positives, negatives = int(of_it.sum()), int((~of_it).sum())
        # Of a positive, the share of negatives below it; of a negative, that of positives above it.
        placed = np.empty(len(true))
        ranks = rankdata(scores)
        placed[of_it] = (ranks[of_it] - rankdata(scores[of_it])) / negatives
        placed[~of_it] = 1 - (ranks[~of_it] - rankdata(scores[~of_it])) / positives
        area = placed[of_it].mean()
        total += area + len(true) * (placed - area) / np.where(of_it, positives, negatives)
    return total / len(tested)


METRICS: dict[MetricName, Metric] = dict(
    zip(
        get_args(MetricName),
        (
            Metric("accuracy", "val_accuracy", "test_accuracy", _accuracy, by_class=False),
            Metric("balanced accuracy", "val_balanced_accuracy", "test_balanced_accuracy", _balanced_accuracy),
            Metric("macro F1", "val_macro_f1", "test_macro_f1", _macro_f1),
            Metric("AUROC", "val_auroc", "auroc", _auroc, step=3**-0.5, ranks=True),
        ),
        strict=True,
    )
)
ACCURACY, BALANCED_ACCURACY = METRICS["accuracy"], METRICS["balanced-accuracy"]


def very_unequal(test_images: Iterable[int]) -> bool:
    """Whether classes with these numbers of test images are so unequal that accuracy speaks for the large ones."""
    tested = [count for count in test_images if count]
    return len(tested) > 1 and max(tested) >= UNEQUAL * min(tested)
