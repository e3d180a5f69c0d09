"""Codes of equal shares: images divided evenly among prototypes, by Sinkhorn's iterations."""

from __future__ import annotations

import torch
from torch import Tensor

from selfsup.methods.parts.losses import in_float32


@in_float32
@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Soft assignments of images to prototypes, of which each gets the same share (Caron et al. 2020, eq. 3 to 5).

    In logarithms, so that no `epsilon` is too small for float32.

    Parameters
    ----------
    scores : Tensor
        Shape (n, k): similarity of n images with k prototypes.
    epsilon : float
        Greater than 0; the smaller, the harder the assignments.
    iterations : int
        At least 1; each gives the prototypes their shares, then every image its whole.

    Returns
    -------
    Tensor
        Float32 of shape (n, k), without gradient; rows sum to 1, and columns to n / k, the nearer the more iterations.
    """
    logs = scores.float() / epsilon
    for _ in range(iterations):
        logs = logs.log_softmax(dim=0).log_softmax(dim=1)
    return logs.exp()
