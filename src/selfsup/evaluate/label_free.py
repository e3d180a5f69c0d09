"""Measures of an embedding that need no labels."""

from __future__ import annotations

import numpy as np


def effective_rank(features: np.ndarray) -> float:
    """RankMe: exp of the entropy of the normalised singular values (Garrido et al. 2023, eq. 1).

    Parameters
    ----------
    features : ndarray, shape (n, width)

    Returns
    -------
    float
        Between 1 and min(n, width).
    """
    singular = np.linalg.svd(features.astype(np.float64), compute_uv=False)
    share = singular / max(singular.sum(), 1e-12) + 1e-12
    return float(np.exp(-(share * np.log(share)).sum()))


def spread(features: np.ndarray) -> float:
    """Mean standard deviation of unit-length embeddings times sqrt(width): 0 collapsed, about 1 healthy."""
    return float(_unit(features).std(axis=0).mean() * np.sqrt(features.shape[1]))


def alignment(first: np.ndarray, second: np.ndarray) -> float:
    """Mean squared distance of the unit embeddings of two views (Wang & Isola 2020, section 4.1); 0 is best."""
    return float(((_unit(first) - _unit(second)) ** 2).sum(axis=1).mean())


def uniformity(features: np.ndarray, *, t: float = 2.0) -> float:
    """Log of the mean Gaussian potential over pairs (Wang & Isola 2020, section 4.1); lower is more uniform.

    Parameters
    ----------
    features : ndarray, shape (n, width), n at least 2
    t : float
        The potential is exp(-t * squared distance).
    """
    x = _unit(features)
    rows, columns = np.triu_indices(len(x), k=1)
    squared = np.maximum(2 - 2 * (x @ x.T)[rows, columns], 0)
    return float(np.log(np.exp(-t * squared).mean()))


def _unit(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
