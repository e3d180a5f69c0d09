"""The digits as the checks use them: batches of small real images, at once and without a download."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

#: A batch of the digits in the checks: images, classes of the digits, side of a view in pixels.
BATCH = 32
CLASSES = 10
SIDE = 16


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images / 16, digits.target


def batch_of_digits(views: int, *, size: int = BATCH) -> tuple[list[Tensor], Tensor]:
    """Handwritten digits in `views` views, each shifted another way, and their classes.

    Returns
    -------
    views : list of Tensor of float32, shape (size, 3, 16, 16), in [0, 1]
    labels : Tensor of int64, shape (size,)
    """
    images, labels = _digits()
    pixels = torch.from_numpy(images[:size]).float().repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    rgb = pixels.unsqueeze(1).expand(-1, 3, -1, -1)
    shifted = [rgb.roll((view, -view), dims=(2, 3)).contiguous() for view in range(views)]
    return shifted, torch.from_numpy(labels[:size]).long()
