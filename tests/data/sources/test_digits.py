"""The digits are scikit-learn's."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from selfsup.data.sources import open_source


def test_the_digits_are_those_that_scikit_learn_loads() -> None:
    source, digits = open_source("digits"), load_digits()
    assert [item.label for item in source.items] == [str(label) for label in digits.target]
    for index in (0, 900, 1796):
        with source.open(index) as image:
            grey = np.asarray(image.convert("L"))
        np.testing.assert_array_equal(grey, np.rint(digits.images[index] * 255 / 16))
