"""Contrastive losses: a view is to find its own among those of other images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from selfsup.methods.parts.losses import in_float32


@in_float32
def nt_xent(projections: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy (Chen et al. 2020, eq. 1 and algorithm 1).

    Parameters
    ----------
    projections : Tensor
        Shape (2n, d): the first views of n images, then their second views in the same order.
    temperature : float
        Greater than 0.

    Returns
    -------
    Tensor
        Scalar: mean over all 2n anchors.
    """
    z = F.normalize(projections.float(), dim=1)
    n = len(z) // 2
    logits = z @ z.T / temperature
    itself = torch.eye(2 * n, dtype=torch.bool, device=z.device)
    logits = logits.masked_fill(itself, float("-inf"))  # an anchor is not its own negative: 1[k != i] in eq. 1
    positives = torch.arange(2 * n, device=z.device).roll(n)
    return F.cross_entropy(logits, positives)


@in_float32
def info_nce(queries: Tensor, keys: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """InfoNCE with one positive key per query and a shared queue (He et al. 2020, eq. 1).

    Parameters
    ----------
    queries, keys : Tensor
        Shape (n, d); row i of `keys` is the positive of row i of `queries`. No gradient flows
        to `keys`.
    negatives : Tensor
        Shape (k, d), unit length; keys of earlier batches.
    temperature : float
        Greater than 0.
    """
    q = F.normalize(queries.float(), dim=1)
    k = F.normalize(keys.float(), dim=1).detach()
    positive = (q * k).sum(dim=1, keepdim=True)
    logits = torch.cat([positive, q @ negatives.T], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long, device=q.device))
