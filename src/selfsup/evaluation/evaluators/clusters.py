"""Clusters of an embedding, for images without labels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from selfsup.evaluation.base import Column, Evaluated, Evaluator
from selfsup.evaluation.embedding import unit_rows
from selfsup.evaluation.evaluation_context import EvaluationContext

#: Numbers of clusters that are tried.
CANDIDATES = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20)
REPEATS = 5
#: Most images that the silhouette is computed on.
SILHOUETTE_IMAGES = 2000


@dataclass(frozen=True)
class Clusters:
    """k-means clusters of unit-length embeddings.

    Attributes
    ----------
    labels : ndarray of int64, shape (n,)
    silhouette : float
        Mean silhouette (Rousseeuw 1987), in [-1, 1]; higher is better separated.
    stability : float
        Mean adjusted Rand index between repetitions from other starts, at most 1.
    """

    labels: np.ndarray
    count: int
    silhouette: float
    stability: float


def find_clusters(features: np.ndarray, *, candidates: tuple[int, ...] = CANDIDATES, seed: int = 0) -> Clusters:
    """k-means with the number of clusters, out of `candidates`, that has the best silhouette.

    Parameters
    ----------
    features : ndarray, shape (n, width), n at least 3
    candidates : tuple of int
        Those of n and more are left out.
    seed : int
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    # One thread: cells run side by side, and the sums must not depend on the number of cores.
    with threadpool_limits(1):
        return _find(features, candidates, seed)


def _find(features: np.ndarray, candidates: tuple[int, ...], seed: int) -> Clusters:
    from sklearn.metrics import adjusted_rand_score, silhouette_score

    x = unit_rows(features)
    # The silhouette looks at all pairs; a sample that misses a small cluster altogether has none.
    sample = np.random.default_rng(seed).permutation(len(x))[:SILHOUETTE_IMAGES]
    scored: list[tuple[float, int, np.ndarray]] = []
    for count in [k for k in candidates if k < len(x)]:
        labels = _kmeans(x, count, seed)
        if len(np.unique(labels[sample])) > 1:
            scored.append((float(silhouette_score(x[sample], labels[sample])), count, labels))
    if not scored:  # all embeddings are one point
        return Clusters(np.zeros(len(x), np.int64), 1, 0.0, 1.0)
    silhouette, count, labels = max(scored, key=lambda found: found[:2])
    runs = [labels, *(_kmeans(x, count, seed + repeat) for repeat in range(1, REPEATS))]
    agreement = [adjusted_rand_score(a, b) for a, b in combinations(runs, 2)]
    return Clusters(runs[0], count, silhouette, float(np.mean(agreement)))


def _kmeans(x: np.ndarray, count: int, seed: int) -> np.ndarray:
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters
        return KMeans(count, n_init=3, random_state=seed).fit(x).labels_.astype(np.int64)


def _evaluate(cell: EvaluationContext) -> Evaluated:
    if cell.labelled and len(cell.classes) >= len(cell.sample):
        return Evaluated({})
    if cell.labelled:
        found = find_clusters(cell.sample, candidates=(len(cell.classes),), seed=cell.seed)
    else:
        found = find_clusters(cell.test.x, seed=cell.seed)
    columns = {"clusters": found.count, "cluster_stability": found.stability, "silhouette": found.silhouette}
    return Evaluated(columns, predicted=None if cell.labelled else found.labels)


COLUMNS = (
    Column("clusters", "number of clusters: of k-means; that of the classes, or without labels that of the best "
           "silhouette; empty where there are as many classes as images that are looked at, 1,000 at most",
           int, heading="clusters", form=".4g"),
    Column("cluster_stability", "stability of the clusters: mean adjusted Rand index between five starts of k-means",
           heading="stability", better="higher"),
    Column("silhouette", "silhouette of the clusters: its mean, from -1 to 1 (Rousseeuw 1987)",
           heading="silhouette", better="higher"),
)  # fmt: skip
evaluator = Evaluator(_evaluate, COLUMNS, takes_several=True, default=True, order=80)
