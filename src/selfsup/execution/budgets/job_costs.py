"""What jobs cost in seconds, from a few timed steps and embeddings on this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from selfsup.backbones import Backbone
from selfsup.backbones.backbone import LEVELS
from selfsup.config.grid import Cell, Job
from selfsup.config.schema import StudyConfig
from selfsup.data.items import ItemTable
from selfsup.data.split import Split, draw_subset
from selfsup.evaluation.embedding import MEASURED_IMAGES, embed
from selfsup.evaluation.evaluation_context import views_wanted
from selfsup.evaluation.evaluators.few_shot import drawable, draws_of
from selfsup.evaluation.evaluators.finetune import AUGMENTATION
from selfsup.evaluation.logistic import LARGE
from selfsup.execution.budgets.budget import candidate_of
from selfsup.execution.executors.base import Resources
from selfsup.execution.progress import SECONDS_PER_CELL
from selfsup.execution.study_networks import asked_network
from selfsup.methods import method_class, read_settings
from selfsup.training.device import make_deterministic
from selfsup.training.plan import TrainingPlan, side_step_of
from selfsup.training.step_timing import time_steps
from selfsup.views import load_policy
from selfsup.views.base import Policy

#: Images in the larger (of 64 px, else by area) and the smaller batch that is timed; a full one would take seconds.
LARGER, SMALLER = 32, 8
#: Steps of each that are timed, after one of the smaller batch to warm up.
TIMED_STEPS = 2
#: Method whose steps are those of fine-tuning.
FINE_TUNING = "supervised"
#: Seconds of solving a probe, per class, image and dimension that the images span; of any problem, and of large ones,
#: whose penalties are left after ten steps. Measured on one core, in units of 1e-8: 1.2 for 100 classes of 20 images
#: (width 512) and 0.9 for 300 of 5; of large ones 0.65 for 600 of 3 (512), 0.8 for 1,000 of 5 (96), 0.5 for the same
#: (512), 0.7 for 10,000 of 3 (96) and 0.4 for the same (512).
SECONDS_PER_PRODUCT, SECONDS_PER_PRODUCT_OF_LARGE = 1.5e-8, 0.6e-8
#: The same of one draw of a few-shot probe, which has one penalty and begins at nothing; and, but for large ones, which
#: end after few steps, seconds per class and square of the dimensions: its curvature costs more than so few images.
#: Together, 0.6 to 1.5 times what was measured of 50 to 10,000 classes, and 0.4 where a draw takes less than 0.1 s.
SECONDS_PER_PRODUCT_OF_DRAW, SECONDS_PER_SQUARE_OF_DRAW = 0.3e-8, 2.5e-8
#: Seconds of solving an attentive probe, per number in the patches of its training images; measured on one core.
SECONDS_PER_ENTRY = 4e-7
#: Width of the embeddings that stand for a teacher's where steps are timed.
TEACHER_WIDTH = 1024
#: A method and the label of its network.
Candidate = tuple[str, str]


class EmbeddingCost(NamedTuple):
    """Of a network: the width of an embedding, the seconds of making one, and the numbers in the patches of an image.

    The last is 0 where no patches are looked at.
    """

    width: int
    seconds: float
    entries: int = 0


@dataclass(frozen=True)
class JobCosts:
    """What the jobs of a study cost on this machine, each by itself.

    Attributes
    ----------
    config : StudyConfig
    items : ItemTable
        The images.
    split : Split
    steps : mapping
        Seconds per step of a full batch, by method and label of its network.
    embedding : mapping
        The cost of an embedding, by the same.
    external : int
        Images of the external test.
    """

    config: StudyConfig
    items: ItemTable
    split: Split
    steps: Mapping[Candidate, float]
    embedding: Mapping[Candidate, EmbeddingCost]
    external: int = 0

    @classmethod
    def measure(
        cls,
        config: StudyConfig,
        jobs: Sequence[Job],
        items: ItemTable,
        split: Split,
        resources: Resources,
        side: int,
        *,
        external: int = 0,
    ) -> Self:
        """Time a few steps and embeddings of `jobs` on random images of this side in pixels."""
        make_deterministic(resources.threads)
        steps = _time_steps(config, jobs, resources, side)
        return cls(config, items, split, steps, _time_embedding(config, jobs, resources, side), external)

    def training(self, job: Job) -> float:
        """Seconds of the job's training to its last epoch; 0 where there is none."""
        config, cell = self.config, job.cells[0]
        if cell.augmentation is None:
            return 0.0
        images = len(self.split.train if job.shared else self._subset(cell))
        plan = TrainingPlan.of(config, 0, epochs=config.epochs, lr=0.0, min_steps=config.min_steps)
        sides = replace(plan, grow_from=config.grow_from).sides
        full_steps = sum((side / config.side) ** 2 for side in sides) * plan.passes(images) * images / config.batch_size
        return full_steps * self.steps[candidate_of(job)]

    def evaluation(self, job: Job) -> float:
        """Seconds of evaluating the job's cells."""
        config, split, cost = self.config, self.split, self.embedding[candidate_of(job)]
        subsets = list(map(self._subset, job.cells))
        held_out = len(split.val) + len(split.test)
        viewed = min(len(split.test) or len(split.train), MEASURED_IMAGES)
        images = len(np.unique(np.concatenate(subsets))) + held_out + self.external
        images += viewed * views_wanted(viewed, cost.width)
        seconds = SECONDS_PER_CELL * len(job.cells) + cost.seconds * images
        if not self.items.has_labels:  # there is nothing to fit
            return seconds
        counts = [self.items.count(subset) for subset in subsets]
        seconds += sum(_probe_seconds(count, cost.width) for count in counts)
        again = cost.seconds * sum(len(subset) + held_out for subset in subsets)  # through the network
        if "layers" in config.evaluate:
            seconds += again + sum(LEVELS * fit_seconds(count, cost.width) for count in counts)
        if "attentive" in config.evaluate:
            seconds += again + SECONDS_PER_ENTRY * cost.entries * sum(map(len, subsets))
        if "finetune" in config.evaluate:
            passes = config.finetune_epochs * len(config.finetune_lrs)
            steps = passes * sum(map(len, subsets)) / config.batch_size
            seconds += steps * self.steps[FINE_TUNING, job.cells[0].backbone]
        return seconds

    def wall(self, jobs: Sequence[Job], share: float, workers: int) -> float:
        """Seconds of so many workers for the jobs, of whose trainings a share of the epochs is run; 0 for none."""
        seconds = sum(share * self.training(job) + self.evaluation(job) for job in jobs)
        return seconds / min(workers, len(jobs)) if jobs else 0.0

    def _subset(self, cell: Cell) -> np.ndarray:
        items = self.items
        return draw_subset(items.labels, self.split.train, per_class=cell.per_class, seed=cell.seed, sets=items.sets)


def _time_steps(config: StudyConfig, jobs: Sequence[Job], resources: Resources, side: int) -> dict[Candidate, float]:
    """Estimated seconds per step of a full batch for every method on every network of its own.

    One method is timed on each network, with one augmentation, for all of them together are a twentieth of a step;
    of the others it is known how many of its steps theirs cost, unless they have settings of their own.
    """
    cells: dict[Candidate, Cell] = {}
    for job in jobs:
        cells.setdefault(candidate_of(job), job.cells[0])
    if "finetune" in config.evaluate:
        tuned = [replace(cell, method=FINE_TUNING, augmentation=AUGMENTATION) for cell in cells.values()]
        cells |= {(cell.method, cell.backbone): cell for cell in tuned}
    simclr: dict[Backbone, float] = {}  # seconds of a step that costs 1
    found: dict[Candidate, float] = {}
    for candidate, cell in cells.items():
        if cell.augmentation is None:
            continue
        backbone = asked_network(config, *candidate)
        cost = None if config.settings.get(cell.method) else method_class(cell.method).cost
        if cost is not None and backbone in simclr:
            found[candidate] = cost * simclr[backbone]
            continue
        policy = load_policy(cell.augmentation)
        found[candidate] = _seconds_per_step(config, cell.method, backbone, policy, resources, side)
        if cost is not None:
            simclr[backbone] = found[candidate] / cost
    return found


def _seconds_per_step(
    config: StudyConfig, name: str, backbone: Backbone, policy: Policy, resources: Resources, side: int
) -> float:
    """Of a full batch, from a larger and a smaller one, which tell apart what a step takes whatever its images.

    Without that part, steps of 32 images of 64 px come to 1.0 (SimCLR) to 1.6 times (supervised) the seconds of a batch
    of 128; with it, to 0.8 to 1.1 times (ResNet-18, bf16, CPU clock). It is at most half of the larger step, so that a
    moment in which other work slows the smaller one does not make an hour of a day.
    """
    larger = min(config.batch_size, _timed_images(config.side))
    smaller = min(SMALLER, larger)
    settings = read_settings(name, config.settings.get(name, {}))
    cls, given = method_class(name), dict[str, Any](num_classes=10, num_images=config.batch_size)
    if cls.tags.needs_teacher:
        given["teacher"] = torch.randn(config.batch_size, TEACHER_WIDTH)
    method = cls(backbone, settings, **given)
    images, step = _Noise(side, config.in_channels), side_step_of(backbone.patch_size)

    def seconds(count: int, steps: int) -> list[float]:
        plan = TrainingPlan(steps, count, config.side, lr=1e-4, seed=0, side_step=step)
        return time_steps(method, images, policy, plan, resources.hardware)

    few = seconds(smaller, 1 + TIMED_STEPS)[1:]
    if larger == smaller:
        return fmean(few) * config.batch_size / smaller
    most = fmean(seconds(larger, TIMED_STEPS))
    fixed = (larger * min(few) - smaller * most) / (larger - smaller)
    fixed = min(max(fixed, 0.0), most / 2)
    return fixed + (most - fixed) * config.batch_size / larger


def _time_embedding(
    config: StudyConfig, jobs: Sequence[Job], resources: Resources, side: int
) -> dict[Candidate, EmbeddingCost]:
    """Time each network's embedding of a few images at its own side."""
    known: dict[Backbone, EmbeddingCost] = {}
    found = {}
    for candidate in dict.fromkeys(map(candidate_of, jobs)):
        backbone = asked_network(config, *candidate)
        if backbone not in known:
            images, indices = _Noise(side, backbone.in_channels), np.arange(_timed_images(backbone.image_size))
            for _ in range(2):  # the first one is to warm up
                began = time.perf_counter()
                embed(backbone, images, indices, image_size=backbone.image_size, device=resources.hardware.device)
                seconds = (time.perf_counter() - began) / len(indices)
            entries = _entries(backbone) if "attentive" in config.evaluate else 0
            known[backbone] = EmbeddingCost(backbone.num_features, seconds, entries)
        found[candidate] = known[backbone]
    return found


def _timed_images(side: int) -> int:
    """Images of this side in the larger batch that is timed."""
    return max(SMALLER, int(LARGER * (64 / side) ** 2))


@torch.no_grad()
def _entries(backbone: Backbone) -> int:
    """Numbers in the patches of an image."""
    side = backbone.image_size
    return backbone.patches(torch.zeros(1, backbone.in_channels, side, side, device=backbone.mean.device)).numel()


class _Noise:
    """A store of random pixels, all of one size."""

    def __init__(self, side: int, channels: int) -> None:
        self.side, self.channels = side, channels

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        shape = (len(indices), self.side, self.side, self.channels)
        pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
        return pixels.permute(0, 3, 1, 2), torch.full((len(indices), 2), self.side)


def _probe_seconds(counts: np.ndarray, width: int) -> float:
    """Seconds of solving a cell's probes on so many images per class; with few classes, hardly any."""
    present = counts[counts > 0].tolist()
    return fit_seconds(counts, width) + few_shot_seconds(present, width)


def few_shot_seconds(counts: Sequence[int], width: int) -> float:
    """Seconds of solving all few-shot probes on classes of so many images, at least one of each."""
    classes, seconds = len(counts), 0.0
    for k in drawable(counts):
        images = k * classes
        spanned = min(images, width)
        curvature = 0.0 if images * classes >= LARGE else SECONDS_PER_SQUARE_OF_DRAW * spanned
        draw = classes * spanned * (curvature + SECONDS_PER_PRODUCT_OF_DRAW * images)
        seconds += draws_of(k, classes) * draw
    return seconds


def fit_seconds(counts: np.ndarray, width: int) -> float:
    """Seconds of solving one probe on so many images per class."""
    images, classes = int(counts.sum()), int((counts > 0).sum())
    rate = SECONDS_PER_PRODUCT if images * classes < LARGE else SECONDS_PER_PRODUCT_OF_LARGE
    return rate * images * classes * min(images, width)
