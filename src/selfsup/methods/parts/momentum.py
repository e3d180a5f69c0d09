"""A momentum encoder: a copy of a network that follows it slowly and takes no gradient."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn


class MomentumEncoder(nn.Module):
    """Exponential moving average of `online` (He et al. 2020, eq. 2; Grill et al. 2020, eq. 1).

    Parameters are averaged. Buffers (the running statistics of batch normalisation) are the
    copy's own, gathered from the batches that it sees, as in the MoCo authors' code.

    Parameters
    ----------
    online : nn.Module
        The network to copy.
    """

    def __init__(self, online: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(online).requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    @torch.no_grad()
    def update(self, online: nn.Module, momentum: float) -> None:
        """Move every parameter: copy = momentum * copy + (1 - momentum) * online."""
        torch._foreach_lerp_(list(self.network.parameters()), list(online.parameters()), 1 - momentum)


def cosine_momentum(base: float, progress: float) -> float:
    """Momentum that rises from `base` to 1: 1 - (1 - base)(cos(pi k/K) + 1)/2 (Grill et al. 2020, 3.3)."""
    return 1 - (1 - base) * (math.cos(math.pi * progress) + 1) / 2


def momentum_for(steps: int, most: float) -> float:
    """Momentum with which an average looks back over at most a tenth of a training: 1 - 10/steps, at most `most`.

    A momentum for a hundred thousand steps would keep the copy where it began in a training of a few hundred.
    """
    return min(most, max(0.0, 1 - 10 / steps))
