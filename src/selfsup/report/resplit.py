"""Intervals and paired tests over seeds that divide the images each in its own way.

Such seeds are a sample of other trainings, other images to test and other images to train on, all at once; but their
images are drawn from the same few, so they are not independent. Nadeau and Bengio's corrected resampled t (2003,
Machine Learning 52) takes the correlation of two of them for the share of the images that is tested. The variance of
the mean is then not ``s²/S`` but ``(1/S + tested/rest) s²``, with s² the variance of the means of S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selfsup.report.means import Mean, mean_of
from selfsup.report.statistics import Interval, PairedTest, Table, interval_of, test_of


def resplit_interval(tables: Sequence[Table], units: Sequence[Mapping[str, Any]], test_ratio: float) -> Interval:
    """Interval of the mean score over seeds with splits of their own.

    Parameters
    ----------
    tables : sequence of array, shape [1, images]
        Of each seed, at least two: what each of its test images contributes to the score.
    units : sequence of mapping
        Of each seed, further arguments of :func:`score_interval`.
    test_ratio : float
        Test images for each image that is not for the test, above 0.
    """
    return interval_of(_mean_over_splits(tables, units, test_ratio))


def resplit_test(
    first: Sequence[Table],
    second: Sequence[Table],
    units: Sequence[Mapping[str, Any]],
    test_ratio: float,
    margin: float | None = None,
) -> PairedTest:
    """As :func:`paired_test`, over seeds with splits of their own: paired within each seed.

    Parameters are those of :func:`resplit_interval`, with the tables of the second classifier, and `margin` is that of
    :func:`paired_test`.
    """
    differences = [one.astype(float) - other.astype(float) for one, other in zip(first, second, strict=True)]
    return test_of(_mean_over_splits(differences, units, test_ratio), margin)


def _mean_over_splits(tables: Sequence[Table], units: Sequence[Mapping[str, Any]], test_ratio: float) -> Mean:
    """Mean over seeds whose test and training images overlap by chance alone.

    The variance of the seeds' means is corrected for what they have in common, by the ratio of Nadeau and Bengio. It is
    not below what a seed's own test images leave open: few seeds may agree by chance.
    """
    parts = [mean_of(table.astype(float), **of_it) for table, of_it in zip(tables, units, strict=True)]
    means = np.array([part.mean for part in parts])
    share = 1 / len(parts) + test_ratio
    return Mean(
        float(means.mean()),
        len(parts),
        max(part.units for part in parts),
        float(means.var(ddof=1)) * share,
        float(np.mean([part.unit_variance for part in parts])) * share,
        min(part.unit_freedom for part in parts),
        float(np.mean([part.effective_units for part in parts])),
        nested=True,
    )
