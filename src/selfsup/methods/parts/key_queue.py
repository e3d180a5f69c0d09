"""A queue of keys: the newest replace the oldest."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class KeyQueue(nn.Module):
    """First-in first-out dictionary of encoded keys (He et al. 2020, section 3.1).

    Parameters
    ----------
    size : int
        Keys held, at least 1.
    width : int
        Width of a key.
    """

    keys: Tensor
    position: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(size, width), dim=1))
        self.register_buffer("position", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        """Replace the oldest keys by `keys` of shape (n, width), normalised here."""
        size = len(self.keys)
        newest = F.normalize(keys.float(), dim=1)[-size:]
        slots = (self.position + torch.arange(len(newest), device=newest.device)) % size
        self.keys[slots] = newest
        self.position.copy_((self.position + len(newest)) % size)
