"""1,797 handwritten digits of 8x8 pixels, 10 classes; ships with scikit-learn, no download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from selfsup.data.sources.base import Arrays, ArraySource, SourceOptions


def open_source(options: SourceOptions) -> ArraySource:
    """The test part of the UCI Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998)."""
    options.refuse("data_root", "data_url", source="digits")
    return ArraySource("digits", _load, identity="scikit-learn", unlabelled=options.unlabelled)


def _load() -> Arrays:
    # What sklearn.datasets.load_digits reads, without the half second of importing it.
    sklearn = find_spec("sklearn")
    assert sklearn is not None and sklearn.origin is not None
    table = np.loadtxt(Path(sklearn.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    pixels = np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # grey levels 0 to 16
    return Arrays(pixels, [str(label) for label in table[:, -1].astype(int)])
