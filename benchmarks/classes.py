"""What judging an embedding costs with very many classes: seconds of each measure, and per million of classes × images.

python benchmarks/classes.py [--classes 100,1000] [--images 3] [--width 128]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from selfsup.evaluation.confusions import Confusions
from selfsup.evaluation.embedding import sample_rows
from selfsup.evaluation.evaluators.calibration import fit_temperature
from selfsup.evaluation.evaluators.clusters import find_clusters
from selfsup.evaluation.evaluators.few_shot import few_shot
from selfsup.evaluation.evaluators.knn import knn_predict
from selfsup.evaluation.linear_probe import fit_linear_probe
from selfsup.evaluation.metrics import METRICS
from selfsup.figures.confusion import confusion_matrix
from selfsup.training.device import make_deterministic

T = TypeVar("T")

#: Directions in which classes differ, before a ReLU.
DIRECTIONS = 32


def embeddings(classes: int, per_class: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """As many made-up embeddings of each class, and the classes."""
    shared = np.random.default_rng(0)
    centres, mixing = shared.normal(size=(classes, DIRECTIONS)), shared.normal(size=(DIRECTIONS, width))
    labels = np.tile(np.arange(classes), per_class)
    noise = np.random.default_rng(seed).normal(size=(len(labels), DIRECTIONS))
    return np.maximum((centres[labels] + 0.6 * noise) @ mixing, 0).astype(np.float32), labels


def print_costs(classes: int, per_class: int, width: int) -> float:
    """CPU seconds of what a cell is judged by, each printed; their sum."""
    total = 0.0
    (x, y), (val_x, val_y), (test_x, test_y) = (
        embeddings(classes, count, width, seed) for seed, count in enumerate((per_class, 1, 1))
    )

    def timed(name: str, work: Callable[[], T]) -> T:
        nonlocal total
        started = time.process_time()
        found = work()
        seconds = time.process_time() - started
        total += seconds
        print(f"  {name:<20}{seconds:8.2f} s{seconds / (classes * len(x) / 1e6):10.3f} s per million", flush=True)
        return found

    print(f"{classes:,} classes, {len(x):,} training images, {len(test_x):,} test images, width {width}")
    probe = timed("probe", lambda: fit_linear_probe(x, y, val_x, val_y, num_classes=classes))
    probabilities = timed("probabilities", lambda: probe.probabilities(test_x))
    predicted = probabilities.argmax(axis=1)
    for name, metric in METRICS.items():
        timed(name, lambda metric=metric: metric.value(test_y, probabilities))
    timed("temperature", lambda: fit_temperature(probe.logits(val_x), val_y))
    timed("kNN", lambda: knn_predict(x, y, test_x, num_classes=classes))
    timed("few-shot", lambda: few_shot(x, y, test_x, test_y))
    sample = sample_rows(test_x, 0)
    if classes < len(sample):
        timed("clusters", lambda: find_clusters(sample, candidates=(classes,)))
    names = [f"class {number}" for number in range(classes)]
    timed("confusion picture", lambda: confusion_matrix(Confusions.of(test_y, predicted), names))
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--classes", default="100,1000")
    parser.add_argument("--images", type=int, default=3, help="training images of each class")
    parser.add_argument("--width", type=int, default=128)
    given = parser.parse_args()
    make_deterministic(1)
    with threadpool_limits(1):
        counts = [int(classes) for classes in given.classes.split(",")]
        seconds = [print_costs(classes, given.images, given.width) for classes in counts]
    for (few, quick), (many, slow) in pairwise(zip(counts, seconds, strict=True)):
        more = (many / few) ** 2
        print(f"From {few:,} to {many:,} classes: {more:g} x the classes x images, {slow / quick:.1f} x the time")


if __name__ == "__main__":
    main()
