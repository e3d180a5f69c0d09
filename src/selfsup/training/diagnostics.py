"""Signals of a training's health, computed where the batch is: spread, rank, similarity of views."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from selfsup.methods.base import Step

#: Standard deviation of unit-length embeddings, times sqrt(width), below which all images have
#: practically one embedding; a healthy one is of the order of 1 (Chen & He 2021, section 4.1).
COLLAPSED_BELOW = 0.01
#: A mean loss so many times that of the first step (of 1, if that is less) is far worse than guessing, and values of
#: embeddings are beyond the float16 in which they are kept, which the report computes from: the training has exploded.
EXPLODED_LOSS, EXPLODED_EMBEDDING = 100.0, float(np.finfo(np.float16).max)


@torch.no_grad()
def step_signals(step: Step) -> Tensor:
    """Loss, embedding std, positive and negative similarity of one batch, on its device.

    Returns
    -------
    Tensor, shape (4,)
        NaN for the similarities of a method that does not compare two views.
    """
    unknown = torch.full_like(step.loss, math.nan)
    positive, negative = (unknown, unknown) if step.pair is None else pair_similarity(*step.pair)
    return torch.stack([step.loss.detach(), embedding_std(step.embedding), positive, negative])


def embedding_std(embedding: Tensor) -> Tensor:
    """Spread of unit-length embeddings: mean over dimensions of their standard deviation, times sqrt(width).

    About 1 where the embedding uses all its dimensions, 0 where it has collapsed to a point
    (Chen & He 2021, section 4.1).

    Parameters
    ----------
    embedding : Tensor
        Shape (n, width).
    """
    # At least float32: under autocast an embedding may have half of its digits.
    exact = embedding.to(torch.promote_types(embedding.dtype, torch.float32))
    unit = torch.nn.functional.normalize(exact, dim=1)
    return unit.std(dim=0, correction=0).mean() * math.sqrt(embedding.shape[1])


def pair_similarity(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cosine similarity of the two views of an image, and of views of different images.

    Parameters
    ----------
    first, second : Tensor
        Shape (n, d); rows i are views of one image.

    Returns
    -------
    positive, negative : Tensor
        Scalars in [-1, 1]; `negative` is NaN for a batch of one image.
    """
    a, b = (torch.nn.functional.normalize(side.float(), dim=1) for side in (first, second))
    n = len(a)
    same = (a * b).sum()
    # All n^2 products are one product of sums: no n x n matrix is needed.
    different = (a.sum(dim=0) * b.sum(dim=0)).sum() - same
    return same / n, different / (n * (n - 1)) if n > 1 else torch.full_like(same, math.nan)


def effective_rank(embedding: Tensor | np.ndarray) -> float:
    """RankMe: exp of the entropy of the normalised singular values (Garrido et al. 2023, eq. 1).

    Waits for the device: for once in an epoch.

    Parameters
    ----------
    embedding : Tensor or ndarray
        Shape (n, width).

    Returns
    -------
    float
        Between 1 and min(n, width); NaN where the embedding is not finite.
    """
    x = torch.as_tensor(embedding).detach().cpu().double().numpy()
    return entropy_rank(np.linalg.svd(x, compute_uv=False)) if np.isfinite(x).all() else math.nan


def entropy_rank(spectrum: np.ndarray) -> float:
    """The number of equal values that a spectrum is worth: exp of the entropy of its shares."""
    share = spectrum / max(spectrum.sum(), 1e-12) + 1e-12
    return float(np.exp(-(share * np.log(share)).sum()))


def loss_exploded(loss: float, first: float) -> bool:
    """Whether an epoch's mean loss is beyond hope, or not finite; `first` is that of the training's first step."""
    return not loss <= EXPLODED_LOSS * max(1.0, first)


def embedding_exploded(features: np.ndarray) -> bool:
    """Whether an embedding, shape (n, width), holds values that are not finite or beyond any measure."""
    return not float(np.abs(features).max(initial=0.0)) <= EXPLODED_EMBEDDING


def collapse_epoch(embedding_stds: Sequence[float]) -> int | None:
    """The epoch, from 1, from which on the embedding's spread stays below `COLLAPSED_BELOW`; None if it does not."""
    epoch = len(embedding_stds)
    while epoch and embedding_stds[epoch - 1] < COLLAPSED_BELOW:
        epoch -= 1
    return epoch + 1 if epoch < len(embedding_stds) else None
