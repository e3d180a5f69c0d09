"""The cost of a job counts every training and evaluation that it holds."""

from __future__ import annotations

import numpy as np
import pytest

from selfsup.config.grid import Cell, Job
from selfsup.config.validation import validate
from selfsup.data.items import UNKNOWN, Item, ItemTable
from selfsup.data.split import Split
from selfsup.execution.job_costs import JobCosts
from selfsup.execution.progress import SECONDS_PER_CELL

LABELS = np.repeat(np.arange(4), 50)
SPLIT = Split(np.arange(0, 200, 2), np.arange(1, 200, 4), np.arange(3, 200, 4))
STEPS = {("moco", "resnet18", "simclr"): 0.5, ("supervised", "resnet18", "weak"): 0.1}


def items(labels: np.ndarray) -> ItemTable:
    """Images of these classes."""
    return ItemTable.of([Item(f"{n}", None if c == UNKNOWN else f"{c:03d}") for n, c in enumerate(labels.tolist())])


def embedding(width: int = 0, seconds: float = 0.0) -> dict[tuple[str, str], tuple[int, float]]:
    return {(method, "resnet18"): (width, seconds) for method in ("moco", "frozen", "random")}


JOB = Job(tuple(Cell("moco", "resnet18", "simclr", 0.1, n, 0) for n in (5, 20)), shared=True)


def total(costs: JobCosts, job: Job) -> float:
    return costs.training(job) + costs.evaluation(job)


def seconds(job: Job, **values: object) -> float:
    fixed = {"epochs": 10, "batch_size": 50, "protocol": "label-efficiency", "image_size": 32, "grow_from": 1}
    config = validate({**fixed, **values})
    return total(JobCosts(config, items(LABELS), SPLIT, STEPS, embedding()), job)


def test_a_training_and_its_judgement_are_counted() -> None:
    assert seconds(JOB) == pytest.approx(10 * 100 / 50 * 0.5 + 2 * SECONDS_PER_CELL)


def test_embedding_is_counted_once_for_all_cells_of_a_training() -> None:
    images = 4 * 20 + len(SPLIT.val) + len(SPLIT.test)  # those with 5 labels per class are among those with 20
    config = validate({"image_size": 32})
    one, two = (
        total(JobCosts(config, items(LABELS), SPLIT, STEPS, embedding(seconds=rate)), JOB) for rate in (0.5, 2.0)
    )
    assert two - one == pytest.approx(1.5 * images)


def test_training_without_labels_passes_over_the_pool_and_embedding_does_not() -> None:
    config = validate({"epochs": 10, "batch_size": 50, "image_size": 32, "grow_from": 1})
    labels = np.where(np.arange(200) % 50 < 25, LABELS, UNKNOWN)  # of the 25 training images of a class, 13 or 12
    costs = JobCosts(config, items(labels), SPLIT, STEPS, embedding(seconds=1.0))
    supervised = Job((Cell("supervised", "resnet18", "weak", 0.1, "all", 0),))
    assert costs.training(JOB) == pytest.approx(10 * 100 / 50 * 0.5)
    known = int((labels[SPLIT.train] != UNKNOWN).sum())
    assert costs.training(supervised) == pytest.approx(10 * known / 50 * 0.1)
    held_out = len(SPLIT.val) + len(SPLIT.test)
    assert costs.evaluation(JOB) == pytest.approx(known + held_out + 2 * SECONDS_PER_CELL, abs=0.1)


def test_small_views_are_counted_by_their_area() -> None:
    growing = (4 * 16**2 + 3 * 24**2 + 3 * 32**2) / 32**2  # of 10 epochs the last 3 have full size
    assert seconds(JOB, grow_from=0.5) == pytest.approx(growing * 100 / 50 * 0.5 + 2 * SECONDS_PER_CELL)


def test_more_passes_are_counted() -> None:
    """10 epochs of 100 images in batches of 50 are 20 steps; 50 are had by three passes in each epoch."""
    assert seconds(JOB, min_steps=50) - 2 * SECONDS_PER_CELL == pytest.approx(3 * (seconds(JOB) - 2 * SECONDS_PER_CELL))


def test_fine_tuning_is_counted_for_every_cell_and_learning_rate() -> None:
    tuned = seconds(JOB, evaluate="finetune", finetune_epochs=7, finetune_lrs="0.1,0.01,0.001")
    assert tuned - seconds(JOB) == pytest.approx(7 * 3 * (4 * 5 + 4 * 20) / 50 * 0.1)
    baseline = Job((Cell("frozen", "resnet18", None, None, 5, 0),), shared=True)
    tuned = seconds(baseline, evaluate="finetune", finetune_epochs=7, finetune_lrs="0.1")
    assert tuned == pytest.approx(SECONDS_PER_CELL + 7 * 4 * 5 / 50 * 0.1)


def test_the_probe_of_many_classes_is_counted() -> None:
    """600 classes of three images, at width 512: seconds, and not the few milliseconds of four classes."""
    config = validate({"image_size": 32})
    labels = np.repeat(np.arange(600), 5)
    split = Split(np.flatnonzero(np.arange(3000) % 5 < 3), np.arange(0), np.arange(0))
    untrained = Job((Cell("random", "resnet18", None, None, "all", 0),), shared=True)
    many = total(JobCosts(config, items(labels), split, STEPS, embedding(512)), untrained)
    few = total(JobCosts(config, items(LABELS), SPLIT, STEPS, embedding(512)), untrained)
    assert few == pytest.approx(SECONDS_PER_CELL, abs=0.2)
    assert 3 < many - few < 20
