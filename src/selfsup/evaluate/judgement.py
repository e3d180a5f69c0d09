"""The verdict on one embedding: by labels where there are any, by its own structure where not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from selfsup.evaluate import label_free
from selfsup.evaluate.clustering import find_clusters
from selfsup.evaluate.knn import knn_predict
from selfsup.evaluate.linear_probe import LinearProbe, fit_linear_probe
from selfsup.evaluate.scores import Scores, score


@dataclass(frozen=True)
class Embedded:
    """Embeddings of some images of the store.

    Attributes
    ----------
    indices : ndarray of int64, shape (n,)
        Ascending places in the store.
    features : ndarray of float32, shape (n, width)
    """

    indices: np.ndarray
    features: np.ndarray

    def of(self, indices: np.ndarray) -> np.ndarray:
        """Embeddings of the images at `indices`, all of which must be here."""
        return self.features[np.searchsorted(self.indices, indices)]


@dataclass(frozen=True)
class Judgement:
    """What is known of one embedding.

    Attributes
    ----------
    columns : dict
        Values of the columns of ``results.csv``.
    indices, features, labels, predicted, confidence : ndarray
        The judged images: place in the store, embedding, true class (-1 unknown), predicted class
        or cluster, and the prediction's probability (NaN for a cluster).
    probe : LinearProbe or None
    scores : Scores or None
    """

    columns: dict[str, Any]
    indices: np.ndarray
    features: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    probe: LinearProbe | None = None
    scores: Scores | None = None


def judge_by_labels(
    embedded: Embedded,
    labels: np.ndarray,
    *,
    train: np.ndarray,
    val: np.ndarray,
    test: np.ndarray,
    num_classes: int,
) -> Judgement:
    """Linear probe and nearest neighbours, fitted on `train`, chosen on `val`, quoted on `test`.

    Parameters
    ----------
    embedded : Embedded
        Holds all images named below.
    labels : ndarray of int64
        Class of every image of the store.
    train, val, test : ndarray of int64
        Places in the store.
    """
    train_x, val_x, test_x = (embedded.of(part) for part in (train, val, test))
    probe = fit_linear_probe(train_x, labels[train], val_x, labels[val], num_classes=num_classes)
    probabilities = probe.probabilities(test_x)
    predicted = probabilities.argmax(axis=1)
    neighbours = knn_predict(train_x, labels[train], test_x, num_classes=num_classes)
    scores = score(labels[test], predicted, num_classes=num_classes)
    return Judgement(
        columns={
            "val_accuracy": probe.val_accuracy,
            "test_accuracy": scores.accuracy,
            "test_balanced_accuracy": scores.balanced_accuracy,
            "test_macro_f1": scores.macro_f1,
            "knn_accuracy": float((neighbours == labels[test]).mean()),
            "probe_strength": probe.strength,
            **structure(test_x),
        },
        indices=test,
        features=test_x,
        labels=labels[test],
        predicted=predicted,
        confidence=probabilities.max(axis=1).astype(np.float32),
        probe=probe,
        scores=scores,
    )


def judge_by_structure(embedded: Embedded, *, seed: int) -> Judgement:
    """Clusters and label-free measures of images whose classes nobody knows."""
    clusters = find_clusters(embedded.features, seed=seed)
    unknown = np.full(len(embedded.indices), -1, np.int64)
    return Judgement(
        columns={
            "clusters": clusters.count,
            "cluster_stability": clusters.stability,
            "silhouette": clusters.silhouette,
            **structure(embedded.features),
        },
        indices=embedded.indices,
        features=embedded.features,
        labels=unknown,
        predicted=clusters.labels,
        confidence=np.full(len(unknown), np.nan, np.float32),
    )


def structure(features: np.ndarray) -> dict[str, float]:
    """Spread and effective rank of an embedding."""
    return {"embedding_std": label_free.spread(features), "effective_rank": label_free.effective_rank(features)}
