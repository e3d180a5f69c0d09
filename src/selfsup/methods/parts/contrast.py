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
    logits = _similarities(projections, temperature)
    return F.cross_entropy(logits, _other_views(logits))


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


@in_float32
def info_nce_in_batch(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """InfoNCE with the other images' keys as negatives, times twice the temperature (Chen et al. 2021, algorithm 1).

    Parameters
    ----------
    queries, keys : Tensor
        Shape (n, d); row i of `keys` is the positive of row i of `queries`. No gradient flows to `keys`.
    temperature : float
        Greater than 0.
    """
    q = F.normalize(queries.float(), dim=1)
    k = F.normalize(keys.float(), dim=1).detach()
    return 2 * temperature * F.cross_entropy(q @ k.T / temperature, torch.arange(len(q), device=q.device))


@in_float32
def decoupled_contrast(projections: Tensor, temperature: float) -> Tensor:
    """NT-Xent without the positive pair in the denominator (Yeh et al. 2022, eq. 6).

    Parameters
    ----------
    projections : Tensor
        Shape (2n, d), n at least 2: the first views of n images, then their second views in the same order.
    temperature : float
        Greater than 0.

    Returns
    -------
    Tensor
        Scalar: mean over all 2n anchors; the paper has their sum.
    """
    logits = _similarities(projections, temperature)
    places = _other_views(logits)[:, None]
    positives = logits.gather(1, places).squeeze(1)
    return (logits.scatter(1, places, float("-inf")).logsumexp(dim=1) - positives).mean()


@in_float32
def supervised_contrast(projections: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """NT-Xent with all views of the anchor's class as positives (Khosla et al. 2020, eq. 2: the sum outside the log).

    Parameters
    ----------
    projections : Tensor
        Shape (v n, d), v at least 2: the first views of n images, then their second views in the same order, and so on.
    labels : Tensor
        Shape (n,), int64.
    temperature : float
        Greater than 0.

    Returns
    -------
    Tensor
        Scalar: mean over all anchors; the paper has their sum.
    """
    logits = _similarities(projections, temperature)
    classes = labels.repeat(len(logits) // len(labels))
    positive = (classes[:, None] == classes) & ~_itself(logits)
    logs = F.log_softmax(logits, dim=1).masked_fill(~positive, 0.0)
    return -(logs.sum(dim=1) / positive.sum(dim=1)).mean()


def _similarities(projections: Tensor, temperature: float) -> Tensor:
    """Cosines over the temperature, each row's own left out: 1[k != i] of the papers."""
    z = F.normalize(projections.float(), dim=1)
    logits = z @ z.T / temperature
    return logits.masked_fill(_itself(logits), float("-inf"))


def _itself(square: Tensor) -> Tensor:
    return torch.eye(len(square), dtype=torch.bool, device=square.device)


def _other_views(square: Tensor) -> Tensor:
    """Of each of 2n rows, where the other view of its image is."""
    return torch.arange(len(square), device=square.device).roll(len(square) // 2)
