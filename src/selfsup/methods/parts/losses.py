"""The losses of the papers, in float32 whatever the precision of the network."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor
from torch.nn import functional as F


def in_float32(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Without autocast, which would compute the products of even float32 tensors in bf16 or fp16."""

    @wraps(loss)
    def computed(first: Tensor, *rest: Tensor | float, **named: Tensor | float) -> Tensor:
        with torch.autocast(first.device.type, enabled=False):
            return loss(first, *rest, **named)

    return computed


@in_float32
def cosine_regression(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of unit vectors, 2 - 2 cos (Grill et al. 2020, eq. 2).

    Parameters
    ----------
    predictions, targets : Tensor
        Shape (n, d). No gradient flows to `targets`.
    """
    p = F.normalize(predictions.float(), dim=1)
    t = F.normalize(targets.float(), dim=1).detach()
    return 2 - 2 * (p * t).sum(dim=1).mean()


@in_float32
def view_cross_entropy(targets: Tensor, outputs: Tensor, temperature: float) -> Tensor:
    """Cross entropy of the outputs for views with distributions that are made of other views of the same images.

    Of a teacher's :func:`sharpened` ones, DINO's loss (Caron et al. 2021, eq. 3 and algorithm 1).

    Parameters
    ----------
    targets : Tensor
        Shape (u, n, d): distributions, of the first u of the views.
    outputs : Tensor
        Shape (v, n, d), v at least u.
    temperature : float
        Of the outputs; greater than 0.

    Returns
    -------
    Tensor
        Scalar: mean over the images and all pairs of a target and another view.
    """
    logs = F.log_softmax(outputs.float() / temperature, dim=2)
    each = -torch.einsum("und,vnd->uvn", targets, logs).mean(dim=2)
    pairs = len(targets) * (len(outputs) - 1)
    # A view is no target of its own: the diagonal of the first u views goes.
    return (each.sum() - each.diagonal().sum()) / pairs


def sharpened(teacher: Tensor, center: Tensor, temperature: float) -> Tensor:
    """A teacher's distributions over prototypes: centred, sharpened, without gradient (Caron et al. 2021, eq. 1)."""
    return F.softmax((teacher.detach().float() - center) / temperature, dim=-1)
