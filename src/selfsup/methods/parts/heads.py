"""Projection and prediction heads: small multi-layer perceptrons."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import nn


def mlp(
    *widths: int,
    norm: bool,
    norm_last: bool = False,
    affine_last: bool = True,
    activation: Callable[[], nn.Module] | None = None,
) -> nn.Sequential:
    """Linear layers with an activation between them.

    Parameters
    ----------
    *widths : int
        Input width, hidden widths, output width.
    norm : bool
        Batch normalisation before each activation; the linear layer before it then has no bias.
    norm_last : bool
        Batch normalisation after the last layer too.
    affine_last : bool
        Whether that one has a learnt scale and shift.
    activation : callable
        Makes the layer between two linear ones; ReLU by default.
    """
    layers: list[nn.Module] = []
    last = len(widths) - 2
    for index, (width_in, width_out) in enumerate(pairwise(widths)):
        normalised = norm_last if index == last else norm
        layers.append(nn.Linear(width_in, width_out, bias=not normalised))
        if normalised:
            layers.append(nn.BatchNorm1d(width_out, affine=affine_last or index != last))
        if index != last:
            layers.append(activation() if activation else nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
