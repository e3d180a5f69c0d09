"""What methods are chosen and compared by, as a mean over test images of what each image contributes.

Accuracy is the mean of right and wrong. The other metrics are not means over images, but change by a known
amount with the weight of each image (the infinitesimal jackknife: Jaeckel 1972; Efron 1982, The jackknife, the
bootstrap and other resampling plans, chapter 6). The metric plus these amounts has the metric as its mean, and
its variance over the images is that of the metric; so one theory of intervals and paired tests holds for all.
Of the AUROC they are the structural components of DeLong, DeLong and Clarke-Pearson (1988).

What is true is given as scikit-learn takes it: classes, int64 of shape [images]; or, of images that may have several
labels, which ones, bool of shape [images, labels].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from selfsup.config.evaluation_fields import OF_LABELS, MetricName

#: From how many times as many test images of the largest class as of the smallest on classes count as unequal.
UNEQUAL = 5
#: Probability from which on a label is predicted, where images may have several.
THRESHOLD = 0.5

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
        From the true and the predicted classes, of shape [images], or labels, of shape [images, labels], and their
        probabilities, of shape [images, classes], to what each image contributes, of shape [images]: right or wrong, or
        numbers; NaN where the metric cannot be computed.
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
    contributions: Callable[[NDArray[Any], NDArray[Any], Floats], Floats | NDArray[np.bool_]]
    by_class: bool = True
    step: float = 1.0
    ranks: bool = False

    def value(self, true: NDArray[Any], probabilities: Floats) -> float:
        """The metric in [0, 1]; NaN where it cannot be computed, as without images."""
        if not len(true):
            return float("nan")
        predicted = predictions(probabilities, several=true.ndim == 2)
        return float(self.contributions(true, predicted, probabilities).mean())


def predictions(probabilities: Floats, *, several: bool) -> NDArray[Any]:
    """The most probable class of each image, int64 of shape [images]; of several labels, which are predicted, bool."""
    return np.asarray(probabilities >= THRESHOLD if several else probabilities.argmax(axis=1))


def one_against_rest(true: NDArray[Any]) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """The number of each class, or label, that there are images of, and which images these are."""
    if true.ndim == 2:
        yield from ((int(number), true[:, number]) for number in np.flatnonzero(true.any(axis=0)))
    else:
        yield from ((int(number), true == number) for number in np.unique(true))


def strata(true: NDArray[Any]) -> Ints:
    """The class of each image, each a sample of its own; where images may have several labels, the rarest of its own.

    For it is the rare labels by which a mean over the labels varies most.
    """
    if true.ndim == 1:
        return true
    rarest_first = np.argsort(true.sum(axis=0), kind="stable")
    return np.asarray(rarest_first[true[:, rarest_first].argmax(axis=1)])


def _accuracy(true: Ints, predicted: Ints, probabilities: Floats) -> NDArray[np.bool_]:
    return np.asarray(predicted == true)


def _balanced_accuracy(true: Ints, predicted: Ints, probabilities: Floats) -> Floats:
    _, of_class, counts = np.unique(true, return_inverse=True, return_counts=True)
    right = predicted == true
    recall = np.bincount(of_class, right) / counts
    return np.asarray(recall.mean() + len(true) / len(counts) * ((right - recall[of_class]) / counts[of_class]))


def _macro_f1(true: NDArray[Any], predicted: NDArray[Any], probabilities: Floats) -> Floats:
    if true.ndim == 2:
        return _macro_f1_of_labels(true[:, true.any(axis=0)], predicted[:, true.any(axis=0)])
    width = int(max(true.max(), predicted.max())) + 1
    hits = np.bincount(true[predicted == true], minlength=width)
    named = np.bincount(true, minlength=width) + np.bincount(predicted, minlength=width)
    tested = np.isin(np.arange(width), true)
    f1 = np.where(tested, 2 * hits / np.maximum(named, 1), 0.0)
    change = np.where(tested, 1 / np.maximum(named, 1), 0.0)
    changes = 2 * (predicted == true) * change[true] - (f1 * change)[true] - (f1 * change)[predicted]
    return np.asarray(f1.sum() / tested.sum() + len(true) / tested.sum() * changes)


def _macro_f1_of_labels(true: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Floats:
    """Of labels each of which some image has."""
    named = true.sum(axis=0) + predicted.sum(axis=0)
    f1 = 2 * (true & predicted).sum(axis=0) / named
    changes = (2 * (true & predicted) - f1 * (true.astype(float) + predicted)) / named
    return np.asarray(f1.mean() + len(true) * changes.mean(axis=1))


def _auroc(true: NDArray[Any], predicted: NDArray[Any], probabilities: Floats) -> Floats:
    tested = [(number, of_it) for number, of_it in one_against_rest(true) if not of_it.all()]
    if not tested:
        return np.full(len(true), np.nan)
    total = np.zeros(len(true))
    for number, of_it in tested:
        scores = probabilities[:, number]
        positives, negatives = int(of_it.sum()), int((~of_it).sum())
        # Of a positive, the share of negatives below it; of a negative, that of positives above it.
        own, ordered = np.sort(scores[of_it]), np.sort(scores)
        placed = 1 - below(own, scores) / positives
        placed[of_it] = (below(ordered, scores[of_it]) - below(own, scores[of_it])) / negatives
        area = placed[of_it].mean()
        total += area + len(true) * (placed - area) / np.where(of_it, positives, negatives)
    return total / len(tested)


def below(ordered: NDArray[Any], values: NDArray[Any]) -> Floats:
    """How many of `ordered` each value exceeds, a tie counting half."""
    return np.asarray((np.searchsorted(ordered, values) + np.searchsorted(ordered, values, side="right")) / 2)


def _mean_average_precision(true: NDArray[Any], predicted: NDArray[Any], probabilities: Floats) -> Floats:
    total, tested = np.zeros(len(true)), 0
    for number, of_it in one_against_rest(true):
        total += _average_precision(of_it, probabilities[:, number])
        tested += 1
    return total / tested


def _average_precision(of_it: NDArray[np.bool_], scores: Floats) -> Floats:
    """What each image contributes to a label's average precision: mean over its images of the precision down to each.

    Images of one score are taken together.
    """
    order = np.argsort(-scores, kind="stable")
    falling, y = -scores[order], of_it[order]
    first, last = (np.searchsorted(falling, falling, side=side) for side in ("left", "right"))
    precision = np.cumsum(y)[last - 1] / last
    average = precision[y].mean()
    # An image adds to the precision at every image of the label that is ranked no higher than itself.
    below, precise = (np.append(np.cumsum(part[::-1])[::-1], 0)[first] for part in (y / last, y * precision / last))
    changes = np.empty(len(y))
    changes[order] = (y * (precision - average) + y * below - precise) / y.sum()
    return np.asarray(average + len(y) * changes)


METRICS: dict[str, Metric] = dict(
    zip(
        get_args(MetricName),
        (
            Metric("accuracy", "val_accuracy", "test_accuracy", _accuracy, by_class=False),
            Metric("balanced accuracy", "val_balanced_accuracy", "test_balanced_accuracy", _balanced_accuracy),
            Metric("macro F1", "val_macro_f1", "test_macro_f1", _macro_f1),
            Metric("AUROC", "val_auroc", "auroc", _auroc, step=3**-0.5, ranks=True),
            Metric("mAP", "val_map", "test_map", _mean_average_precision, ranks=True),
        ),
        strict=True,
    )
)
ACCURACY, BALANCED_ACCURACY, MEAN_AP = METRICS["accuracy"], METRICS["balanced-accuracy"], METRICS["map"]


def metrics_for(*, several: bool) -> list[Metric]:
    """Those that images of one class each, or images with several labels, can be judged by."""
    return [metric for name, metric in METRICS.items() if not several or name in OF_LABELS]


def very_unequal(test_images: Iterable[int]) -> bool:
    """Whether classes with these numbers of test images are so unequal that accuracy speaks for the large ones."""
    tested = [count for count in test_images if count]
    return len(tested) > 1 and max(tested) >= UNEQUAL * min(tested)
