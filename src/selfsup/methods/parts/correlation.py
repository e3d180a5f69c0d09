"""Losses on the correlations of a projection's dimensions: no two are to say the same, and none is to fall silent."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from selfsup.methods.parts.losses import in_float32


@in_float32
def barlow_twins(first: Tensor, second: Tensor, redundancy: float) -> Tensor:
    """Squared distance of the cross-correlation from the identity (Zbontar et al. 2021, eq. 1 and 2).

    Parameters
    ----------
    first, second : Tensor
        Shape (n, d), n at least 2: projections of two views of n images.
    redundancy : float
        Weight of what lies off the diagonal, the paper's lambda.
    """
    a, b = (F.batch_norm(z.float(), None, None, training=True) for z in (first, second))
    correlation = a.T @ b / len(a)
    diagonal = correlation.diagonal()
    off_diagonal = correlation.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + redundancy * off_diagonal


@in_float32
def missing_variance(projections: Tensor) -> Tensor:
    """How far the standard deviations of the dimensions are below 1, on average (Bardes et al. 2022, eq. 1 and 2).

    Parameters
    ----------
    projections : Tensor
        Shape (n, d), n at least 2.
    """
    return F.relu(1 - (projections.float().var(dim=0) + 1e-4).sqrt()).mean()


@in_float32
def squared_covariance(projections: Tensor) -> Tensor:
    """Squared covariances of different dimensions, their sum over d (Bardes et al. 2022, eq. 3 and 4).

    Parameters
    ----------
    projections : Tensor
        Shape (n, d), n at least 2.
    """
    z = projections.float()
    z = z - z.mean(dim=0)
    covariance = z.T @ z / (len(z) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]
