"""Measures of an embedding that need no labels."""

from __future__ import annotations

import math

import numpy as np

#: Share of the largest eigenvalue below which an eigenvalue is rounding and not spectrum.
NUMERICAL_ZERO = 1e-10
#: Fewest eigenvalues that a decay is fitted to.
LEAST_FOR_DECAY = 5


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
    return _exp_entropy(np.linalg.svd(features.astype(np.float64), compute_uv=False))


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
    eigenvalues = _squared_singular_values(features - features.mean(axis=0, dtype=np.float64))
    eigenvalues = eigenvalues[eigenvalues > NUMERICAL_ZERO * eigenvalues.max(initial=0.0)]
    if len(eigenvalues) < LEAST_FOR_DECAY:
        return math.nan
    rank = np.arange(1, len(eigenvalues) + 1)
    # polyfit squares its weights.
    slope, _ = np.polyfit(np.log(rank), np.log(eigenvalues), 1, w=rank**-0.5)
    return float(-slope)


def lidar(views: np.ndarray, *, delta: float = 1e-4) -> float:
    """LiDAR: effective rank of what tells images apart beyond what tells their views apart.

    Thilak et al. 2024 (section 4): the exponential of the entropy of the eigenvalues of
    S_w^-1/2 S_b S_w^-1/2, with S_b the covariance of the images' means and S_w that of the views
    about them.

    Parameters
    ----------
    views : ndarray, shape (q, n, width)
        Embeddings of q random views of each of n images, n at least 2.
    delta : float
        Added to the diagonal of S_w.

    Returns
    -------
    float
        Between 1 and min(n - 1, width); NaN where the q views of n images cannot fill S_w, that is
        where n (q - 1) is less than the width.
    """
    count, images, width = views.shape
    if images * (count - 1) < width:
        return math.nan
    views = views.astype(np.float64)
    means = views.mean(axis=0)
    within = (views - means).reshape(-1, width)
    between = means - means.mean(axis=0)
    s_w = within.T @ within / len(within) + delta * np.eye(width)
    # The eigenvalues of S_w^-1/2 S_b S_w^-1/2 are those of L^-1 S_b L^-T for S_w = L L^T.
    whitened = np.linalg.solve(np.linalg.cholesky(s_w), between.T)
    return _exp_entropy(_squared_singular_values(whitened))


def feature_std(features: np.ndarray) -> float:
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


def _exp_entropy(spectrum: np.ndarray) -> float:
    """The number of equal values that a spectrum is worth: exp of the entropy of its shares."""
    share = spectrum / max(spectrum.sum(), 1e-12) + 1e-12
    return float(np.exp(-(share * np.log(share)).sum()))


def _squared_singular_values(x: np.ndarray) -> np.ndarray:
    """In descending order, by the smaller of the two products: several times faster than an SVD."""
    product = x @ x.T if len(x) < x.shape[1] else x.T @ x
    return np.maximum(np.linalg.eigvalsh(product)[::-1], 0)


def _unit(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
