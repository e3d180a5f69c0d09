"""From embeddings to a map: t-SNE or principal components, the same points every time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

LEAST_FOR_TSNE = 6


def map_rows(n: int, seed: int, max_points: int) -> NDArray[np.int64]:
    """Which of `n` rows are on the map: all, or `max_points` of them drawn by `seed`, sorted."""
    if n <= max_points:
        return np.arange(n, dtype=np.int64)
    drawn = np.random.default_rng(seed).choice(n, size=max_points, replace=False)
    return np.sort(drawn).astype(np.int64)


def project(
    features: NDArray[np.floating], seed: int, max_points: int = 5000
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Lay embeddings out in the plane by t-SNE (van der Maaten and Hinton, 2008).

    Parameters
    ----------
    features : array of float, shape [N, D]
        Embeddings. Values that are not finite count as 0.
    seed : int
        Draws the rows where there are more than `max_points`; the layout itself starts from the
        principal components and is deterministic.
    max_points : int
        Most points on the map.

    Returns
    -------
    points : array of float32, shape [M, 2]
        Positions, M = min(N, max_points). Fewer than 6 rows are placed by their principal
        components; rows that are all alike lie at the origin.
    rows : array of int64, shape [M]
        The row of `features` behind each point, ascending.
    """
    rows = map_rows(len(features), seed, max_points)
    chosen = np.nan_to_num(np.asarray(features)[rows].astype(np.float32), posinf=0.0, neginf=0.0)
    # One thread: cells run side by side, and the sums must not depend on the number of cores.
    with threadpool_limits(1):
        return _layout(chosen, seed), rows


@dataclass(frozen=True)
class Components:
    """Embeddings along their first two principal components.

    Attributes
    ----------
    points : array of float32, shape [N, 2]
        Positions; the component of larger variance first.
    explained : float
        Share of the variance that the two hold, 0 to 1.
    """

    points: NDArray[np.float32]
    explained: float


def principal_components(features: NDArray[np.floating]) -> Components | None:
    """Lay embeddings out in the plane by principal components, which keep distances as far as two axes can.

    Parameters
    ----------
    features : array of float, shape [N, D]
        Embeddings. Values that are not finite count as 0.

    Returns
    -------
    Components or None
        None for fewer than 2 rows or columns, and for rows that are all alike.
    """
    chosen = np.nan_to_num(np.asarray(features, np.float32), posinf=0.0, neginf=0.0)
    if min(chosen.shape) < 2 or float(np.ptp(chosen, axis=0).max()) < 1e-6:
        return None
    fitted = PCA(2, svd_solver="randomized", random_state=0)
    points = fitted.fit_transform(chosen)
    return Components(points.astype(np.float32), float(fitted.explained_variance_ratio_.sum()))


def _layout(features: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    n = len(features)
    points = np.zeros((n, 2), np.float32)
    if n < 2 or float(np.ptp(features, axis=0).max(initial=0.0)) < 1e-6:
        return points
    # As in the t-SNE paper, distances are taken between the leading principal components.
    components = PCA(min(50, *features.shape), svd_solver="full" if n < 100 else "randomized", random_state=seed)
    reduced = components.fit_transform(features).astype(np.float32)
    if n < LEAST_FOR_TSNE or reduced.shape[1] < 2:
        kept = min(2, reduced.shape[1])
        points[:, :kept] = reduced[:, :kept]
        return points
    tsne = TSNE(
        perplexity=min(30.0, (n - 1) / 3),
        init="pca",
        learning_rate="auto",
        # Half of scikit-learn's default: the divergence falls by less than 5 % afterwards.
        max_iter=500,
        random_state=seed,
        n_jobs=1,
    )
    return np.asarray(tsne.fit_transform(reduced), np.float32)
