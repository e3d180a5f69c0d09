"""The verdict on one embedding: by labels where there are any, by its own structure where not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from selfsup.evaluation.evaluators import structure as label_free
from selfsup.evaluation.evaluators.clusters import Clusters, find_clusters
from selfsup.evaluation.evaluators.few_shot import FewShot, few_shot
from selfsup.evaluation.evaluators.knn import NEIGHBOURS, TEMPERATURE, knn_predict
from selfsup.evaluation.linear_probe import LinearProbe, Solver, fit_linear_probe
from selfsup.evaluation.scores import Scores, score
from selfsup.seeding import derive_seed

#: Most images that a measure without labels looks at.
MEASURED_IMAGES = 1_000
#: Images per class of the few-shot probe that has columns of its own.
COLUMN_SHOTS = 5


@dataclass(frozen=True)
class Criteria:
    """How embeddings are judged, the same for every cell of a study.

    Attributes
    ----------
    probe : {"logistic", "sgd"}
        How the linear probe is fitted.
    neighbours : int
        Neighbours that vote.
    temperature : float
        Of the votes.
    device : str
        Where to compute.
    seed : int
        Draws what is drawn at random.
    """

    probe: Solver = "logistic"
    neighbours: int = NEIGHBOURS
    temperature: float = TEMPERATURE
    device: str = "cpu"
    seed: int = 0


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
class CellEvaluation:
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
    few_shot : tuple of FewShot
    """

    columns: dict[str, Any]
    indices: np.ndarray
    features: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    probe: LinearProbe | None = None
    scores: Scores | None = None
    few_shot: tuple[FewShot, ...] = ()


def evaluate_with_labels(
    embedded: Embedded,
    labels: np.ndarray,
    *,
    train: np.ndarray,
    val: np.ndarray,
    test: np.ndarray,
    num_classes: int,
    criteria: Criteria = Criteria(),
) -> CellEvaluation:
    """Probes and nearest neighbours, fitted on `train`, chosen on `val`, quoted on `test`; and its structure.

    Parameters
    ----------
    embedded : Embedded
        Holds all images named below.
    labels : ndarray of int64
        Class of every image of the store.
    train, val, test : ndarray of int64
        Places in the store.
    num_classes : int
    criteria : Criteria
    """
    train_x, val_x, test_x = (embedded.of(part) for part in (train, val, test))
    probe = fit_linear_probe(
        train_x,
        labels[train],
        val_x,
        labels[val],
        num_classes=num_classes,
        solver=criteria.probe,
        device=criteria.device,
        seed=criteria.seed,
    )
    probabilities = probe.probabilities(test_x)
    predicted = probabilities.argmax(axis=1)
    neighbours = knn_predict(
        train_x,
        labels[train],
        test_x,
        num_classes=num_classes,
        k=criteria.neighbours,
        temperature=criteria.temperature,
    )
    shots = few_shot(train_x, labels[train], test_x, labels[test], device=criteria.device, seed=criteria.seed)
    measured = _sample(test_x, criteria.seed)
    clusters = find_clusters(measured, candidates=(num_classes,), seed=criteria.seed)
    scores = score(labels[test], predicted, num_classes=num_classes)
    return CellEvaluation(
        columns={
            "val_accuracy": probe.val_accuracy,
            "test_accuracy": scores.accuracy,
            "test_balanced_accuracy": scores.balanced_accuracy,
            "test_macro_f1": scores.macro_f1,
            "knn_accuracy": float((neighbours == labels[test]).mean()),
            "probe_strength": probe.C,
            **_few_shot_columns(shots),
            **_cluster_columns(clusters),
            **structure(measured),
        },
        indices=test,
        features=test_x,
        labels=labels[test],
        predicted=predicted,
        confidence=probabilities.max(axis=1).astype(np.float32),
        probe=probe,
        scores=scores,
        few_shot=tuple(shots),
    )


def evaluate_without_labels(embedded: Embedded, *, seed: int) -> CellEvaluation:
    """Clusters and label-free measures of images whose classes nobody knows."""
    clusters = find_clusters(embedded.features, seed=seed)
    unknown = np.full(len(embedded.indices), -1, np.int64)
    return CellEvaluation(
        columns={**_cluster_columns(clusters), **structure(_sample(embedded.features, seed))},
        indices=embedded.indices,
        features=embedded.features,
        labels=unknown,
        predicted=clusters.labels,
        confidence=np.full(len(unknown), np.nan, np.float32),
    )


def effective_rank_of(features: np.ndarray, seed: int) -> float:
    """The effective rank that a evaluation with this seed gives to these embeddings."""
    return label_free.effective_rank(_sample(features, seed))


def structure(features: np.ndarray) -> dict[str, float]:
    """Spread and spectrum of an embedding."""
    return {
        "embedding_std": label_free.feature_std(features),
        "effective_rank": label_free.effective_rank(features),
        "alpha_req": label_free.alpha_req(features),
    }


def structure_of_views(views: np.ndarray) -> dict[str, float]:
    """What random views of the same images tell; `views` has shape (q, n, width), q at least 2."""
    return {
        "alignment": label_free.alignment(views[0], views[1]),
        "uniformity": label_free.uniformity(views[0]),
        "lidar": label_free.lidar(views),
    }


def views_wanted(images: int, width: int) -> int:
    """Views of each of `images` images from which LiDAR can be computed, at least 2."""
    return max(2, 1 + -(-width // images))


def _cluster_columns(clusters: Clusters) -> dict[str, Any]:
    return {"clusters": clusters.count, "cluster_stability": clusters.stability, "silhouette": clusters.silhouette}


def _few_shot_columns(shots: list[FewShot]) -> dict[str, float]:
    return {
        name: value
        for shot in shots
        if shot.k == COLUMN_SHOTS
        for name, value in (("few_shot_accuracy", shot.mean), ("few_shot_sd", shot.sd))
    }


def _sample(features: np.ndarray, seed: int) -> np.ndarray:
    """At most `MEASURED_IMAGES` rows, the same of every embedding of as many images."""
    if len(features) <= MEASURED_IMAGES:
        return features
    rows = np.random.default_rng(derive_seed(seed, "measured")).choice(len(features), MEASURED_IMAGES, replace=False)
    return features[np.sort(rows)]
