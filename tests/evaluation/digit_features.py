"""Real features for probes: standardised pixels of scikit-learn's digits."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor


def digit_features(classes: int, count: int, *, start: int = 0) -> tuple[Tensor, Tensor]:
    """Float64 features (count, 64) and classes of the digits below `classes`, from the `start`-th on."""
    data = load_digits()
    rows = np.flatnonzero(data.target < classes)[start : start + count]
    x = data.data[rows]
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-6)
    return torch.from_numpy(x), torch.from_numpy(data.target[rows]).long()
