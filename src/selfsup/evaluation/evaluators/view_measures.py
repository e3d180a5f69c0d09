"""What random views of the same images tell: how near they lie, and how far apart other images."""

from __future__ import annotations

import math

import numpy as np

from selfsup.evaluation.base import Column, Evaluated, Evaluator
from selfsup.evaluation.embedding import unit_rows
from selfsup.evaluation.evaluation_context import EvaluationContext
from selfsup.evaluation.evaluators.structure import squared_singular_values
from selfsup.training.diagnostics import entropy_rank


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
        where n (q - 1) is less than the width, and where embeddings are so large that `delta` is lost.
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
    try:
        whitened = np.linalg.solve(np.linalg.cholesky(s_w), between.T)
    except np.linalg.LinAlgError:
        return math.nan
    return entropy_rank(squared_singular_values(whitened))


def alignment(first: np.ndarray, second: np.ndarray) -> float:
    """Mean squared distance of the unit embeddings of two views (Wang & Isola 2020, section 4.1); 0 is best."""
    apart = unit_rows(first.astype(np.float64)) - unit_rows(second.astype(np.float64))
    return float((apart**2).sum(axis=1).mean())


def uniformity(features: np.ndarray, *, t: float = 2.0) -> float:
    """Log of the mean Gaussian potential over pairs (Wang & Isola 2020, section 4.1); lower is more uniform.

    Parameters
    ----------
    features : ndarray, shape (n, width), n at least 2
    t : float
        The potential is exp(-t * squared distance).
    """
    x = unit_rows(features.astype(np.float64))
    rows, columns = np.triu_indices(len(x), k=1)
    squared = np.maximum(2 - 2 * (x @ x.T)[rows, columns], 0)
    return float(np.log(np.exp(-t * squared).mean()))


def _evaluate(cell: EvaluationContext) -> Evaluated:
    views = cell.network.views
    return Evaluated(
        {"lidar": lidar(views), "alignment": alignment(views[0], views[1]), "uniformity": uniformity(views[0])}
    )


COLUMNS = (
    Column("lidar", "LiDAR (Thilak et al., 2024): number of directions that tell images apart beyond what tells their "
           "views apart", better="higher"),
    Column("alignment", "alignment (Wang and Isola, 2020): mean squared distance of two views of an image",
           better="lower"),
    Column("uniformity", "uniformity (Wang and Isola, 2020): log of the mean Gaussian potential of pairs of images",
           better="lower"),
)  # fmt: skip
evaluator = Evaluator(_evaluate, COLUMNS, takes_several=True, default=True, order=70)
