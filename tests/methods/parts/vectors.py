"""Random vectors for the tests of losses; cosines and gradients by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def draw(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def double(*shape: int, seed: int) -> Tensor:
    return draw(*shape, seed=seed).double().requires_grad_()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt(a @ a) / np.sqrt(b @ b))


def differences(loss: Callable[[np.ndarray], float], at: Tensor, step: float = 1e-5) -> Tensor:
    """The gradient of a loss written in NumPy, by central differences in float64."""
    x = at.detach().double().numpy().copy()
    gradient = np.empty_like(x)
    for place in np.ndindex(x.shape):
        here = x[place]
        x[place] = here + step
        above = loss(x)
        x[place] = here - step
        gradient[place] = (above - loss(x)) / (2 * step)
        x[place] = here
    return torch.from_numpy(gradient).float()
