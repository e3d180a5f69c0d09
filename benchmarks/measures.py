"""What evaluating a cell costs: each measure, the probe against scikit-learn's fits, and one whole cell. CPU seconds.

python benchmarks/measures.py [--images 1000] [--width 512] [--image-size 64] [--epochs 50]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from selfsup.config.grid import Cell, Job
from selfsup.config.validation import validate
from selfsup.evaluation.attentive_probe import fit_attentive_probes
from selfsup.evaluation.evaluators.calibration import expected_calibration_error, fit_temperature
from selfsup.evaluation.evaluators.clusters import find_clusters
from selfsup.evaluation.evaluators.few_shot import few_shot
from selfsup.evaluation.evaluators.knn import knn_predict, knn_predict_each
from selfsup.evaluation.evaluators.knn_best import NEIGHBOURS
from selfsup.evaluation.evaluators.structure import alpha_req
from selfsup.evaluation.evaluators.view_measures import alignment, lidar, uniformity
from selfsup.evaluation.lbfgs import TOLERANCE
from selfsup.evaluation.linear_probe import CS, fit_linear_probe, standardisation
from selfsup.evaluation.metrics import METRICS
from selfsup.execution.jobs.context import StudyContext
from selfsup.execution.jobs.job import run_job
from selfsup.execution.preparation import prepare_images
from selfsup.record.folder import StudyFolder
from selfsup.training.device import Hardware, keep_freed_memory, make_deterministic
from selfsup.training.diagnostics import effective_rank
from selfsup.training.state import EpochLog

CLASSES = 10


def embeddings(images: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes with a decaying spectrum behind a ReLU, as a ResNet's embeddings have."""
    shared = np.random.default_rng(0)
    centres = shared.normal(size=(CLASSES, width)) / 4
    mixing = shared.normal(size=(width, width)) * np.exp(-np.arange(width) / 60)[:, None]
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, images)
    features = np.maximum((centres[labels] + rng.normal(size=(images, width))) @ mixing, 0)
    return features.astype(np.float32), labels


def seconds(work: Callable[[], object]) -> float:
    """CPU time of the second of two calls: the first may import."""
    work()
    started = time.process_time()
    work()
    return time.process_time() - started


def by_scikit_learn(x: np.ndarray, y: np.ndarray) -> None:
    """The fits of the same penalties, each from the last one's solution, to the same tolerance."""
    mean, scale = standardisation(x)
    model = LogisticRegression(max_iter=5000, tol=TOLERANCE, warm_start=True)
    for C in CS:
        model.C = C
        model.fit((x - mean) / scale, y)


def print_measures(images: int, width: int) -> None:
    (x, y), (val_x, val_y), (test_x, test_y) = (embeddings(n, width, s) for s, n in enumerate((images, 200, images)))
    views = np.stack([test_x, test_x + np.random.default_rng(0).normal(size=test_x.shape)])
    probe = fit_linear_probe(x, y, val_x, val_y, num_classes=CLASSES)
    patches = torch.from_numpy(np.stack([np.random.default_rng(k).normal(x) for k in range(4)], 1)).float()
    measures: dict[str, Callable[[], object]] = {
        "effective_rank": lambda: effective_rank(test_x),
        "alpha_req": lambda: alpha_req(test_x),
        "lidar, two views": lambda: lidar(views),
        "alignment": lambda: alignment(*views),
        "uniformity": lambda: uniformity(test_x),
        "clusters": lambda: find_clusters(test_x, candidates=(CLASSES,)),
        "few-shot": lambda: few_shot(x, y, test_x, test_y),
        "kNN": lambda: knn_predict(x, y, test_x, num_classes=CLASSES),
        "kNN, 8 numbers": lambda: knn_predict_each(x, y, test_x, NEIGHBOURS, num_classes=CLASSES),
        "calibration": lambda: (
            fit_temperature(probe.logits(val_x), val_y),
            expected_calibration_error(test_y, probe.probabilities(test_x)),
        ),
        "AUROC": lambda: METRICS["auroc"].value(test_y, probe.probabilities(test_x)),
        "probe": lambda: fit_linear_probe(x, y, val_x, val_y, num_classes=CLASSES),
        "probe, sgd": lambda: fit_linear_probe(x, y, val_x, val_y, num_classes=CLASSES, solver="sgd"),
        "probe, attentive": lambda: fit_attentive_probes(patches.clone(), torch.from_numpy(y), CS, num_classes=CLASSES),
        "probe, scikit-learn": lambda: by_scikit_learn(x, y),
    }
    print(f"{images} embeddings of width {width}")
    for name, work in measures.items():
        print(f"  {name:<22}{seconds(work):8.3f} s")


def print_cell(image_size: int, epochs: int) -> None:
    """Trains SimCLR on the digits for one epoch, evaluates it, and compares with `epochs` epochs."""
    marks: list[float] = []

    def mark(log: EpochLog, total: int) -> None:
        marks.append(time.process_time())

    with tempfile.TemporaryDirectory() as place:
        folder = StudyFolder(Path(place) / "study")
        asked = {"methods": "simclr", "epochs": 2, "image_size": image_size, "test_fraction": 0.49, "weights": "none"}
        config = validate(asked)
        folder.create()
        prepare_images(folder, config, print)
        folder.write_config(config)
        study = StudyContext(folder, Hardware("cpu", "bf16"))
        run_job(study, Job((Cell("simclr", "resnet18", "simclr", 0.03, "all", 0),)), on_epoch=mark)
        evaluating, epoch = time.process_time() - marks[1], marks[1] - marks[0]
        split = study.split(0)
        print(f"one cell at {image_size} px, {len(split.train)} training, {len(split.test)} test images")
    print(f"  evaluating {evaluating:.1f} s, {evaluating / (epochs * epoch):.1%} of {epochs} epochs")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=50)
    given = parser.parse_args()
    keep_freed_memory()
    make_deterministic(1)
    with threadpool_limits(1):
        print_measures(given.images, given.width)
        print_cell(given.image_size, given.epochs)


if __name__ == "__main__":
    main()
