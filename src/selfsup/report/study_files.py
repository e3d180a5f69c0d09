"""Files of a study and its cells, each of which may be missing or damaged, and is empty then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfsup.errors import UserError
from selfsup.record.reading import read_arrays

EMBEDDINGS: dict[str, type[np.generic]] = {
    "labels": np.int64, "predicted": np.int64, "confidence": np.float32, "indices": np.int64, "projection": np.float32,
}  # fmt: skip


@dataclass(frozen=True)
class StoredEmbeddings:
    """What a cell says of each evaluated image; arrays of length N.

    Attributes
    ----------
    labels, predicted : array of int64
        True class (-1 unknown) and predicted class (or cluster); where images may have several labels, the true and the
        predicted ones, bool of shape [N, labels].
    confidence : array of float32
        Probability of the prediction; NaN for a cluster; of several labels, that of each, of shape [N, labels].
    indices : array of int64
        Place of the image in the store.
    projection : array of float32, shape [N, 2]
        Place on the map; NaN where the image is not on it.
    """

    labels: NDArray[Any]
    predicted: NDArray[Any]
    confidence: NDArray[np.float32]
    indices: NDArray[np.int64]
    projection: NDArray[np.float32]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """True where the prediction is right."""
        return np.asarray(self.labels == self.predicted)


def read_table(path: Path) -> pd.DataFrame:
    """A CSV file, all of it text."""
    try:
        # Only an empty field is missing: a class or file may be called "NA" or "null".
        return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], encoding_errors="backslashreplace")
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return pd.DataFrame()


def arrays_if_whole(path: Path, types: Mapping[str, type[np.generic]]) -> dict[str, NDArray[Any]]:
    """The arrays of these names in these types; empty where the file, or one of them, is missing or damaged."""
    try:
        return {name: array.astype(types[name]) for name, array in read_arrays(path, types).items()}
    except (UserError, ValueError):
        return {}


def read_text(path: Path) -> str:
    """A text, with backslashes for what is no UTF-8."""
    try:
        return path.read_text(encoding="utf-8", errors="backslashreplace")
    except OSError:
        return ""
