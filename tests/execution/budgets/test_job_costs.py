"""The cost of a job counts every training and evaluation that it holds."""

from __future__ import annotations

import numpy as np
import pytest

from selfsup.config.grid import Cell, Job
from selfsup.config.validation import validate
from selfsup.data.items import UNKNOWN, Item, ItemTable
from selfsup.data.split import Split
from selfsup.execution.budgets import job_costs
from selfsup.execution.budgets.job_costs import (
    SECONDS_PER_ENTRY,
    EmbeddingCost,
    JobCosts,
    few_shot_seconds,
    fit_seconds,
)
from selfsup.execution.executors.base import Resources
from selfsup.execution.progress import SECONDS_PER_CELL
from selfsup.training.device import Hardware
from selfsup.training.plan import TrainingPlan

LABELS = np.repeat(np.arange(4), 50)
SPLIT = Split(np.arange(0, 200, 2), np.arange(1, 200, 4), np.arange(3, 200, 4))
STEPS = {("moco", "resnet18"): 0.5, ("supervised", "resnet18"): 0.1}


def items(labels: np.ndarray) -> ItemTable:
    """Images of these classes."""
    return ItemTable.of([Item(f"{n}", None if c == UNKNOWN else f"{c:03d}") for n, c in enumerate(labels.tolist())])


def embedding(width: int = 0, seconds: float = 0.0, entries: int = 0) -> dict[tuple[str, str], EmbeddingCost]:
    return {(name, "resnet18"): EmbeddingCost(width, seconds, entries) for name in ("moco", "frozen", "random")}


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
    held_out = len(SPLIT.val) + len(SPLIT.test)
    images = 4 * 20 + held_out + 2 * len(SPLIT.test)  # those with 5 labels are among those with 20; views of the test's
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
    held_out = len(SPLIT.val) + 3 * len(SPLIT.test)  # as they are, and two views of them
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


@pytest.mark.parametrize(
    ("classes", "images", "width", "measured"),
    [(100, 20, 512, 1.3), (300, 5, 512, 2.2), (600, 3, 512, 3.6), (1000, 5, 96, 3.7), (1000, 5, 512, 11.8),
     (10_000, 3, 96, 193)],
)  # fmt: skip
def test_a_probe_takes_about_the_seconds_that_were_measured(
    classes: int, images: int, width: int, measured: float
) -> None:
    """CPU seconds of `fit_linear_probe` on embeddings of benchmarks/classes.py, on one core."""
    assert 2 / 3 < fit_seconds(np.full(classes, images), width) / measured < 5 / 3


@pytest.mark.parametrize(
    ("classes", "images", "width", "measured"),
    [(100, 20, 96, 2.3), (100, 20, 512, 21.4), (300, 5, 96, 1.7), (300, 5, 512, 8.7), (600, 3, 512, 9.3),
     (1000, 6, 96, 4.4), (10_000, 3, 96, 100)],
)  # fmt: skip
def test_few_shot_probes_take_about_the_seconds_that_were_measured(
    classes: int, images: int, width: int, measured: float
) -> None:
    """CPU seconds of `few_shot` on the same embeddings."""
    assert 3 / 5 < few_shot_seconds([images] * classes, width) / measured < 5 / 3


def evaluation(evaluate: str = "probe", external: int = 0, **embedded: float) -> float:
    config = validate({"image_size": 32, "evaluate": evaluate})
    return JobCosts(config, items(LABELS), SPLIT, STEPS, embedding(**embedded), external).evaluation(JOB)


def test_images_of_the_external_test_are_embedded_once_for_all_cells() -> None:
    assert evaluation(seconds=0.5, external=40) - evaluation(seconds=0.5) == pytest.approx(40 * 0.5)


def test_levels_and_patches_are_another_pass_of_every_cell() -> None:
    again = 4 * 5 + 4 * 20 + 2 * (len(SPLIT.val) + len(SPLIT.test))
    assert evaluation("layers", seconds=0.5) - evaluation(seconds=0.5) == pytest.approx(0.5 * again, abs=0.01)
    assert evaluation("attentive", seconds=0.5) - evaluation(seconds=0.5) == pytest.approx(0.5 * again)
    solved = evaluation("attentive", entries=10_000) - evaluation()
    assert solved == pytest.approx(SECONDS_PER_ENTRY * 10_000 * (4 * 5 + 4 * 20))


def test_one_method_is_timed_and_stands_for_those_whose_cost_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """BYOL's step costs 1.35 of SimCLR's; what has settings of its own may cost anything, and is timed itself."""
    timed = []

    def seconds(config: object, name: str, *given: object) -> float:
        timed.append(name)
        return 2.0

    monkeypatch.setattr(job_costs, "_seconds_per_step", seconds)
    config = validate({"backbones": "test_resnet", "image_size": 32, "settings": {"simsiam": {"views": 4}}})
    cells = [Cell(name, "test_resnet", "weak", 0.1, "all", 0) for name in ("simclr", "byol", "simsiam", "moco")]
    cells += [
        Cell("simclr", "test_resnet", "simclr", 0.1, "all", 0),
        Cell("random", "test_resnet", None, None, "all", 0),
    ]
    resources = Resources(Hardware("cpu", "fp32"), 1, 1)
    costs = JobCosts.measure(config, [Job((cell,)) for cell in cells], items(LABELS), SPLIT, resources, 32)
    assert timed == ["simclr", "simsiam"]
    assert costs.steps == {
        ("simclr", "test_resnet"): 2.0, ("byol", "test_resnet"): pytest.approx(2.7),
        ("simsiam", "test_resnet"): 2.0, ("moco", "test_resnet"): pytest.approx(1.34),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("smaller", "full"),
    [(0.3 + 0.01 * 8, 0.3 + 0.01 * 128), (9.0, 2.5 * 0.62), (0.0, 4 * 0.62)],
    ids=["as it is", "the smaller batch was slowed", "the larger was"],
)
def test_a_full_batch_takes_once_what_a_step_takes_whatever_its_images(
    monkeypatch: pytest.MonkeyPatch, smaller: float, full: float
) -> None:
    """Steps take 0.3 s and 0.01 s per image; those of 8 and 32 images are timed, for one of 128."""

    def timed(method: object, images: object, policy: object, plan: TrainingPlan, hardware: object) -> list[float]:
        count = plan.batch_size
        return [9.0, smaller, smaller] if count == 8 else [0.3 + 0.01 * count] * 2  # the first of all is to warm up

    monkeypatch.setattr(job_costs, "time_steps", timed)
    config = validate({"backbones": "test_resnet", "image_size": 64, "batch_size": 128, "grow_from": 1})
    jobs = [Job((Cell("simclr", "test_resnet", "weak", 0.1, "all", 0),))]
    costs = JobCosts.measure(config, jobs, items(LABELS), SPLIT, Resources(Hardware("cpu", "fp32"), 1, 1), 64)
    assert costs.steps["simclr", "test_resnet"] == pytest.approx(full)
