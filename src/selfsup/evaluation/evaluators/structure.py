"""Spread and spectrum of an embedding."""

from __future__ import annotations

import math

import numpy as np
import torch

from selfsup.evaluation.base import Column, Evaluated, Evaluator
from selfsup.evaluation.evaluation_context import EvaluationContext
from selfsup.training.diagnostics import effective_rank, embedding_std

#: Share of the largest eigenvalue below which an eigenvalue is rounding and not spectrum.
NUMERICAL_ZERO = 1e-10
#: Fewest eigenvalues that a decay is fitted to.
LEAST_FOR_DECAY = 5


def alpha_req(features: np.ndarray) -> float:
    """alpha-ReQ: the power alpha of the decay, rank^-alpha, of the covariance's eigenvalues.

    Agrawal et al. 2022: near 1 generalises best; larger is nearer to collapse, smaller
    nearer to noise. The line in log-log coordinates is fitted to all eigenvalues that are not zero,
    each weighted by 1 / rank, as in Stringer et al. 2019 (the many small ones would else be all).

    Parameters
    ----------
    features : ndarray, shape (n, width)

    Returns
    -------
    float
        NaN where fewer than five eigenvalues differ from zero.
    """
    eigenvalues = squared_singular_values(features - features.mean(axis=0, dtype=np.float64))
    eigenvalues = eigenvalues[eigenvalues > NUMERICAL_ZERO * eigenvalues.max(initial=0.0)]
    if len(eigenvalues) < LEAST_FOR_DECAY:
        return math.nan
    rank = np.arange(1, len(eigenvalues) + 1)
    # polyfit squares its weights.
    slope, _ = np.polyfit(np.log(rank), np.log(eigenvalues), 1, w=rank**-0.5)
    return float(-slope)


def squared_singular_values(x: np.ndarray) -> np.ndarray:
    """In descending order, by the smaller of the two products: several times faster than an SVD."""
    product = x @ x.T if len(x) < x.shape[1] else x.T @ x
    return np.maximum(np.linalg.eigvalsh(product)[::-1], 0)


def _evaluate(cell: EvaluationContext) -> Evaluated:
    std = float(embedding_std(torch.from_numpy(cell.sample).double()))
    return Evaluated(
        {"embedding_std": std, "effective_rank": effective_rank(cell.sample), "alpha_req": alpha_req(cell.sample)}
    )


COLUMNS = (
    Column("embedding_std", "spread of the embeddings: mean standard deviation of a dimension at unit length, times "
           "the root of the width, so 1 for a Gaussian; below 0.01 the cell counts as collapsed", better="higher"),
    Column("effective_rank", "RankMe, effective rank (Garrido et al., 2023): number of dimensions that the embedding "
           "uses", heading="eff. rank", better="higher", form=".1f"),
    Column("alpha_req", "α-ReQ, decay of the spectrum (Agrawal et al., 2022): power of the decay of the covariance's "
           "eigenvalues", better=1.0),
)  # fmt: skip
evaluator = Evaluator(_evaluate, COLUMNS, takes_several=True, default=True, order=60)
