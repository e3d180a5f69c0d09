"""What jobs cost in seconds, from a few timed steps and embeddings on this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from selfsup.backbones import Backbone
from selfsup.config.grid import Cell, Job
from selfsup.config.schema import StudyConfig
from selfsup.data.items import ItemTable
from selfsup.data.split import Split, draw_subset
from selfsup.evaluation.embedding import embed
from selfsup.evaluation.evaluators.few_shot import DRAWS, drawable
from selfsup.evaluation.evaluators.finetune import AUGMENTATION
from selfsup.execution.executors.base import Resources
from selfsup.execution.initial_weights import network_of
from selfsup.execution.progress import SECONDS_PER_CELL, Kind, kind_of
from selfsup.methods import method_class, read_settings
from selfsup.training.device import make_deterministic
from selfsup.training.loop import Training
from selfsup.training.plan import TrainingPlan
from selfsup.views import load_policy

#: Steps that are timed per method and augmentation, after one to warm up.
TIMED_STEPS = 3
#: Share of the images in a batch that is timed roughly.
ROUGHLY = 0.25
#: Method whose steps are those of fine-tuning.
FINE_TUNING = "supervised"
#: Images whose embedding is timed per network.
EMBEDDED_IMAGES = 8
#: Seconds of solving a probe, per class, image and dimension that the images span; measured on one core.
SECONDS_PER_PRODUCT = 1e-8
#: Width of the embeddings that stand for a teacher's where steps are timed.
TEACHER_WIDTH = 1024
#: By method and label of its network, the width of an embedding and the seconds of making one.
EmbeddingCosts = Mapping[tuple[str, str], tuple[int, float]]


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
        Seconds per step of a full batch, by kind of training.
    embedding : mapping
        Width of an embedding and seconds of making one, by method and label of its network.
    """

    config: StudyConfig
    items: ItemTable
    split: Split
    steps: Mapping[Kind, float]
    embedding: EmbeddingCosts

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
        roughly: bool = False,
    ) -> Self:
        """Time the steps and embeddings of `jobs` on random images of this side in pixels.

        `roughly` times one augmentation per method and network, on fewer images, in a fourth of the time or less.
        """
        steps = _time_steps(config, jobs, resources, side, roughly)
        candidates = dict.fromkeys((job.cells[0].method, job.cells[0].backbone) for job in jobs)
        networks = {candidate: network_of(config, *candidate) for candidate in candidates}
        return cls(config, items, split, steps, _time_embedding(networks, resources, side))

    def training(self, job: Job) -> float:
        """Seconds of the job's training to its last epoch; 0 where there is none."""
        config, cell = self.config, job.cells[0]
        if cell.augmentation is None:
            return 0.0
        images = len(self.split.train if job.shared else self._subset(cell))
        plan = TrainingPlan.of(config, 0, epochs=config.epochs, lr=0.0, min_steps=config.min_steps)
        sides = replace(plan, grow_from=config.grow_from).sides
        full_steps = sum((side / config.side) ** 2 for side in sides) * plan.passes(images) * images / config.batch_size
        return full_steps * self.steps[kind_of(job)]

    def evaluation(self, job: Job) -> float:
        """Seconds of evaluating the job's cells."""
        config, cell, split = self.config, job.cells[0], self.split
        width, seconds_per_image = self.embedding[cell.method, cell.backbone]
        subsets = list(map(self._subset, job.cells))
        images = len(np.unique(np.concatenate(subsets))) + len(split.val) + len(split.test)
        seconds = SECONDS_PER_CELL * len(job.cells) + seconds_per_image * images
        if not self.items.has_labels:  # there is nothing to fit
            return seconds
        seconds += sum(_probe_seconds(self.items.count(subset), width) for subset in subsets)
        if "finetune" in config.evaluate:
            passes = config.finetune_epochs * len(config.finetune_lrs)
            steps = passes * sum(map(len, subsets)) / config.batch_size
            seconds += steps * self.steps[FINE_TUNING, cell.backbone, AUGMENTATION]
        return seconds

    def _subset(self, cell: Cell) -> np.ndarray:
        items = self.items
        return draw_subset(items.labels, self.split.train, per_class=cell.per_class, seed=cell.seed, sets=items.sets)


def _time_steps(
    config: StudyConfig, jobs: Sequence[Job], resources: Resources, side: int, roughly: bool
) -> dict[Kind, float]:
    """Estimated seconds per step of a full batch for every kind of training in the grid."""
    make_deterministic(resources.threads)
    count = _timed_images(config, ROUGHLY if roughly else 1.0)
    cells = {kind_of(job): job.cells[0] for job in jobs}
    if "finetune" in config.evaluate:
        tuned = (replace(cell, method=FINE_TUNING, augmentation=AUGMENTATION) for cell in cells.values())
        cells |= {(cell.method, cell.backbone, cell.augmentation): cell for cell in tuned}
    found: dict[Kind, float] = {}
    for kind, cell in cells.items():
        alike = [known for known in found if roughly and known[:2] == kind[:2]]
        if cell.augmentation is not None:
            found[kind] = found[alike[0]] if alike else _seconds_per_step(config, cell, resources, side, count)
    return found


def _seconds_per_step(config: StudyConfig, cell: Cell, resources: Resources, side: int, count: int) -> float:
    assert cell.augmentation is not None
    images = _Noise(side, config.in_channels)
    settings = read_settings(cell.method, config.settings.get(cell.method, {}))
    backbone = network_of(config, cell.method, cell.backbone)
    cls, given = method_class(cell.method), dict[str, Any](num_classes=10, num_images=config.batch_size)
    if cls.tags.needs_teacher:
        given["teacher"] = torch.randn(config.batch_size, TEACHER_WIDTH)
    method = cls(backbone, settings, **given)
    indices = np.arange(count)
    plan = TrainingPlan(TIMED_STEPS + 1, count, config.side, lr=1e-4, seed=0)
    policy, fabric = load_policy(cell.augmentation), resources.hardware.fabric()
    outcome = Training(method, images, indices, indices % 10, policy, plan, fabric).run()
    seconds = [line.seconds for line in outcome.state.log[1:]]  # of an epoch, which is one step
    return float(np.median(seconds)) * config.batch_size / count


def _time_embedding(networks: Mapping[tuple[str, str], Backbone], resources: Resources, side: int) -> EmbeddingCosts:
    """Time each network's embedding of a few images at its own side; once per network and side."""
    known: dict[tuple[str, int], float] = {}
    indices = np.arange(EMBEDDED_IMAGES)
    found = {}
    for (method, label), backbone in networks.items():
        same = (label, backbone.image_size)
        if same not in known:
            images = _Noise(side, backbone.in_channels)
            for _ in range(2):  # the first one is to warm up
                began = time.perf_counter()
                embed(backbone, images, indices, image_size=backbone.image_size, device=resources.hardware.device)
                known[same] = (time.perf_counter() - began) / len(indices)
        found[method, label] = backbone.num_features, known[same]
    return found


def _timed_images(config: StudyConfig, share: float) -> int:
    """Images in a timed batch: fewer where they are large, so that a plan takes no minutes; at least 8."""
    return min(config.batch_size, max(8, int(share * config.batch_size * (64 / config.side) ** 2)))


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
    counts = counts[counts > 0]
    probes = [(1, int(counts.sum())), *((DRAWS, k * len(counts)) for k in drawable(counts.tolist()))]
    products = sum(number * images * len(counts) * min(images, width) for number, images in probes)
    return SECONDS_PER_PRODUCT * products
