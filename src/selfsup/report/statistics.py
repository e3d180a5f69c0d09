"""Intervals and paired tests for accuracies, as pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A 95 % interval of an accuracy.

    Attributes
    ----------
    low, high : float
        Its ends, within 0 to 1.
    kind : {"wilson", "t"}
        ``"wilson"``: one seed, over the test images. ``"t"``: over the seeds.
    count : int
        Test images (wilson) or seeds (t) behind it.
    """

    low: float
    high: float
    kind: Literal["wilson", "t"]
    count: int


@dataclass(frozen=True)
class PairedTest:
    """Two classifiers on the same test images.

    Attributes
    ----------
    wins, losses : int
        Images on which the first does better, and worse, averaged over the seeds.
    p_value : float
        Two-sided.
    agree : bool
        Whether every seed shows the same sign of the difference in accuracy.
    seeds : int
        Seeds that both have.
    """

    wins: int
    losses: int
    p_value: float
    agree: bool
    seeds: int


def wilson(accuracy: float, images: int) -> Interval:
    """Wilson's score interval of a share (Wilson, 1927).

    Parameters
    ----------
    accuracy : float
        Share of right predictions, 0 to 1.
    images : int
        Test images, at least 1.
    """
    z = float(stats.norm.ppf(0.5 + CONFIDENCE / 2))
    scale = 1 + z**2 / images
    centre = (accuracy + z**2 / (2 * images)) / scale
    half = z * math.sqrt(accuracy * (1 - accuracy) / images + z**2 / (4 * images**2)) / scale
    return Interval(max(0.0, centre - half), min(1.0, centre + half), "wilson", images)


def over_seeds(accuracies: Sequence[float]) -> Interval:
    """Student's interval of the mean accuracy over two seeds or more.

    It tells how the accuracy varies from training to training on these test images; it does not
    tell how it would vary with other test images.
    """
    values = np.asarray(accuracies, float)
    n = len(values)
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * float(values.std(ddof=1)) / math.sqrt(n)
    mean = float(values.mean())
    return Interval(max(0.0, mean - half), min(1.0, mean + half), "t", n)


def paired_test(first: Sequence[NDArray[np.bool_]], second: Sequence[NDArray[np.bool_]]) -> PairedTest:
    """Exact McNemar test (McNemar, 1947), paired over images and over seeds.

    With one seed this is the exact McNemar test: of the images that one classifier names rightly
    and the other wrongly, how unlikely is so uneven a share? With several seeds an image counts
    once, for whichever classifier was right on it in more seeds (a sign test of the per-image
    difference), so repeating seeds does not pretend to more images. Since that says nothing about
    the spread between trainings, a difference is to be claimed only if all seeds `agree`.

    Parameters
    ----------
    first, second : sequence of bool arrays, shape [N]
        Where each classifier is right, one array per seed, seeds in the same order.
    """
    difference = np.sum([a.astype(int) - b.astype(int) for a, b in zip(first, second, strict=True)], axis=0)
    per_seed = [int(a.sum()) - int(b.sum()) for a, b in zip(first, second, strict=True)]
    wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
    p_value = float(stats.binomtest(wins, wins + losses, 0.5).pvalue) if wins + losses else 1.0
    total = wins - losses
    agree = all(np.sign(d) == np.sign(total) != 0 for d in per_seed)
    return PairedTest(wins, losses, p_value, agree, len(per_seed))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for the number of tests, in the order given (Holm, 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return [float(p) for p in adjusted]
