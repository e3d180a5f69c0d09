"""Random vectors for the tests of losses, and the cosine by hand."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def draw(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def double(*shape: int, seed: int) -> Tensor:
    return draw(*shape, seed=seed).double().requires_grad_()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt(a @ a) / np.sqrt(b @ b))
