"""1,797 handwritten digits of 8x8 pixels, 10 classes; ships with scikit-learn, no download."""

from __future__ import annotations

import numpy as np

from selfsup.data.sources.base import Arrays, ArraySource, SourceOptions


def open_source(options: SourceOptions) -> ArraySource:
    """The test part of the UCI Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998)."""
    options.refuse("data_root", "data_url", source="digits")
    return ArraySource("digits", _load, identity="scikit-learn", unlabelled=options.unlabelled)


def _load() -> Arrays:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # grey levels 0 to 16
    return Arrays(pixels, [str(label) for label in digits.target])
