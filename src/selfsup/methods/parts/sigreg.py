"""SIGReg: how far embeddings are from an isotropic Gaussian, tested on random directions."""

from __future__ import annotations

import torch
from torch import Tensor

from selfsup.methods.parts.losses import in_float32


@in_float32
def sigreg(embeddings: Tensor, directions: Tensor, reach: float = 5.0, knots: int = 17) -> Tensor:
    """Mean of the Epps-Pulley statistic over projections on directions (Balestriero & LeCun 2025, algorithm 1).

    Parameters
    ----------
    embeddings : Tensor
        Shape (v, n, d): n images in v views, each of which is tested by itself.
    directions : Tensor
        Shape (d, m), columns of unit length.
    reach, knots
        As for :func:`epps_pulley`.
    """
    return epps_pulley(embeddings.float() @ directions.float(), reach, knots).mean()


def epps_pulley(samples: Tensor, reach: float = 5.0, knots: int = 17) -> Tensor:
    """The Epps-Pulley statistic of samples against the standard normal distribution.

    n times the integral over t of |f(t) - exp(-t²/2)|² exp(-t²/2), f being the samples' characteristic function. Linear
    in the number of samples, with bounded gradients.

    Parameters
    ----------
    samples : Tensor
        Float32 of shape (..., n, m): of each of m distributions n samples.
    reach : float
        The integral is over [-reach, reach], by the trapezoidal rule.
    knots : int
        Places in [0, reach] at which the integrand, which is even, is computed.

    Returns
    -------
    Tensor
        Shape (..., m), at least 0.
    """
    t = torch.linspace(0, reach, knots, dtype=samples.dtype, device=samples.device)
    normal = torch.exp(-t.square() / 2)
    steps = torch.full_like(t, 2 * reach / (knots - 1))
    steps[0] = steps[-1] = reach / (knots - 1)
    angles = samples[..., None] * t
    real, imaginary = angles.cos().mean(dim=-3), angles.sin().mean(dim=-3)
    return samples.shape[-2] * (((real - normal).square() + imaginary.square()) @ (steps * normal))
