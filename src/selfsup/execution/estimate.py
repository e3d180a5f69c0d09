"""What a study would take: its cells, time and disk, from a few timed steps on this machine."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfsup.backbones import Backbone
from selfsup.config.continuation import narrow
from selfsup.config.grid import Cell, Job, unfinished
from selfsup.config.schema import StudyConfig
from selfsup.data.array_image import COLOURS
from selfsup.data.audit import AuditEntry, small_classes
from selfsup.data.depth import channels_of
from selfsup.data.opening import pixel_limit, set_aside
from selfsup.data.pages import with_pages
from selfsup.data.sources import open_source
from selfsup.data.sources.base import Source, silent
from selfsup.data.split import Split, draw_subset
from selfsup.evaluation.embedding import embed
from selfsup.evaluation.evaluators.few_shot import DRAWS, drawable
from selfsup.evaluation.evaluators.finetune import AUGMENTATION
from selfsup.execution.configuration import require_policies, require_views, resolve_configuration
from selfsup.execution.executors.base import Resources
from selfsup.execution.initial_weights import network_of, resolve_networks
from selfsup.execution.preparation import require_enough, require_same_names, split_study
from selfsup.execution.progress import SECONDS_PER_CELL, Kind, kind_of
from selfsup.execution.resources import resolve_resources, time_precision
from selfsup.execution.schedulers import load_scheduler
from selfsup.execution.study_grid import GridOfStudy, lay_out
from selfsup.methods import method_class, read_settings
from selfsup.record.folder import StudyFolder
from selfsup.record.storage import local_folder
from selfsup.training.device import make_deterministic
from selfsup.training.loop import Training
from selfsup.training.plan import TrainingPlan
from selfsup.views import load_policy

#: Steps that are timed per method and augmentation, after one to warm up.
TIMED_STEPS = 3
#: Most images of the source that are opened to learn how large they are, and whether they can be.
OPENED_IMAGES = 1000
#: Method whose steps are those of fine-tuning.
FINE_TUNING = "supervised"
#: Images whose embedding is timed per network.
EMBEDDED_IMAGES = 8
#: Seconds for a worker's start; measured on two cores and rounded up.
SECONDS_PER_START = 10.0
#: Seconds of solving a probe, per class, image and dimension that the images span; measured on one core.
SECONDS_PER_PRODUCT = 1e-8


@dataclass(frozen=True)
class Plan:
    """What running a study would take.

    Attributes
    ----------
    config : StudyConfig
    grid : GridOfStudy
    finished : frozenset of str
        Ids of those of its cells that the study already has.
    resources : Resources
    images : int
        Images found, readable or not.
    opened : int
        Images that were opened, without decoding them.
    audit : tuple of AuditEntry
        What was noticed on the way; a run, which decodes all images, may notice more.
    seconds : float
        Estimated time of the cells that are left, with the resources' workers.
    bytes : float
        Estimated disk of the study's folder when finished.
    store_bytes : float
        Estimated disk of the decoded images, shared by all studies of them.
    """

    config: StudyConfig
    grid: GridOfStudy
    finished: frozenset[str]
    resources: Resources
    images: int
    opened: int
    audit: tuple[AuditEntry, ...]
    seconds: float
    bytes: float
    store_bytes: float


def plan_study(
    values: Mapping[str, Any], *, out: str | Path | None = None, say: Callable[[str], None] = silent
) -> Plan:
    """Lay out the grid and estimate what it takes; runs no cell and decodes no image.

    Parameters
    ----------
    values : mapping
        Raw configuration values.
    out : str or Path, optional
        A study's folder or address: its finished cells need not run again.
    say : callable, optional
        Takes a line of progress.

    Raises
    ------
    UserError
        If something does not fit, by itself or into the study, or images of the study are gone.
    """
    folder = None if out is None else StudyFolder(local_folder(out))
    if folder is not None:
        folder.require_free()
    config = resolve_configuration(folder, values)
    files = open_source(
        config.data, data_root=config.data_root, data_url=config.data_url, unlabelled=config.unlabelled, say=say
    )
    source = with_pages(files, config.pages)
    with pixel_limit(config.max_pixels):
        glance = _glance(source, config)
    if folder is not None:
        require_same_names(source.names, folder, config)
    config = resolve_networks(config.with_channels_of(glance.channels), say, folder)
    require_policies(config)
    labels = None if source.labels is None else np.unique(np.asarray(source.labels), return_inverse=True)[1]
    grid = lay_out(narrow(config, values), labelled=labels is not None)
    finished = frozenset(folder.finished() if folder else ()) & {cell.id for cell in grid.cells}
    left = unfinished(grid.jobs, finished)
    split, _ = split_study(config, source.names, labels, source.official_test)
    classes = sorted(set(source.labels or ()))
    require_enough(labels, split, config)
    small = [] if labels is None else small_classes(labels, classes, split, config.per_class)
    config = config.with_side_for([glance.short_side])
    require_views(config)
    resources = time_precision(config, resolve_resources(config, len(grid.jobs)), left, len(source.names))
    steps = _time_steps(config, left, resources, glance.side)
    share = load_scheduler(config, folder or StudyFolder(Path())).share(len(config.augmentations) * len(config.lrs))
    candidates = dict.fromkeys((cell.method, cell.backbone) for cell in grid.cells)
    networks = {candidate: network_of(config, *candidate) for candidate in candidates}
    embedding = _time_embedding(networks, resources, glance.side)
    seconds = sum(_job_seconds(config, job, labels, split, steps, embedding, share) for job in left)
    return Plan(
        config=config,
        grid=grid,
        finished=finished,
        resources=resources,
        images=len(source.names),
        opened=glance.opened,
        audit=(*source.ignored, *glance.audit, *small),
        seconds=seconds / min(resources.workers, len(left)) + SECONDS_PER_START if left else 0.0,
        bytes=_study_bytes(config, grid, split, networks),
        store_bytes=float(config.in_channels) * len(source.names) * glance.side**2,
    )


@dataclass(frozen=True)
class _Glance:
    """What opening some images shows: how many they were, their typical stored sides in pixels, their channels, and
    what did not open. `side` is the root of the area.
    """

    opened: int
    side: int
    short_side: float
    channels: int
    audit: tuple[AuditEntry, ...]


def _glance(source: Source, config: StudyConfig) -> _Glance:
    """Open images that lie evenly in the source, without decoding them."""
    sides, short_sides, audit = [], [], []
    channels = Counter[int]()
    chosen = np.unique(np.linspace(0, len(source.names) - 1, OPENED_IMAGES).astype(int)).tolist()
    for index in chosen:
        try:
            with source.open(index) as image:
                width, height = image.size
                channels[channels_of(image)] += 1
        except Exception as error:  # whatever an image's reader raises sets the image aside
            audit.append(set_aside(source.names[index], error))
        else:
            scale = min(1.0, config.resolved_store_size / min(width, height))
            sides.append(scale * math.sqrt(width * height))
            short_sides.append(scale * min(width, height))
    side = max(1, round(float(np.median(sides)))) if sides else config.resolved_store_size
    short_side = float(np.median(short_sides)) if sides else side
    most = channels.most_common(1)[0][0] if channels else COLOURS
    return _Glance(len(chosen), side, short_side, most, tuple(audit))


def _time_steps(config: StudyConfig, jobs: Sequence[Job], resources: Resources, side: int) -> dict[Kind, float]:
    """Estimated seconds per step of a full batch for every kind of training in the grid."""
    make_deterministic(resources.threads)
    cells = {kind_of(job): job.cells[0] for job in jobs}
    if "finetune" in config.evaluate:
        tuned = (replace(cell, method=FINE_TUNING, augmentation=AUGMENTATION) for cell in cells.values())
        cells |= {(cell.method, cell.backbone, cell.augmentation): cell for cell in tuned}
    return {
        kind: _seconds_per_step(config, cell, resources, side)
        for kind, cell in cells.items()
        if cell.augmentation is not None
    }


def _seconds_per_step(config: StudyConfig, cell: Cell, resources: Resources, side: int) -> float:
    assert cell.augmentation is not None
    images = _Noise(side, config.in_channels)
    settings = read_settings(cell.method, config.settings.get(cell.method, {}))
    backbone = network_of(config, cell.method, cell.backbone)
    method = method_class(cell.method)(backbone, settings, num_classes=10, num_images=config.batch_size)
    count = _timed_images(config)
    indices = np.arange(count)
    plan = TrainingPlan(TIMED_STEPS + 1, count, config.side, lr=1e-4, seed=0)
    policy, fabric = load_policy(cell.augmentation), resources.hardware.fabric()
    outcome = Training(method, images, indices, indices % 10, policy, plan, fabric).run()
    seconds = [line.seconds for line in outcome.state.log[1:]]  # of an epoch, which is one step
    return float(np.median(seconds)) * config.batch_size / count


#: By method and label of its network, the width of an embedding and the seconds of making one.
_Embedding = Mapping[tuple[str, str], tuple[int, float]]


def _time_embedding(networks: Mapping[tuple[str, str], Backbone], resources: Resources, side: int) -> _Embedding:
    """Time each network's embedding of a few images at its own side; once per network and side."""
    known: dict[tuple[str, int], float] = {}
    indices = np.arange(EMBEDDED_IMAGES)
    found = {}
    for (method, label), backbone in networks.items():
        same = (label, backbone.image_size)
        if same not in known:
            began = time.perf_counter()
            images = _Noise(side, backbone.in_channels)
            embed(backbone, images, indices, image_size=backbone.image_size, device=resources.hardware.device)
            known[same] = (time.perf_counter() - began) / len(indices)
        found[method, label] = backbone.num_features, known[same]
    return found


def _timed_images(config: StudyConfig) -> int:
    """Images in a timed batch: fewer where they are large, so that a plan takes no minutes; at least 8."""
    return min(config.batch_size, max(8, int(config.batch_size * (64 / config.side) ** 2)))


class _Noise:
    """A store of random pixels, all of one size."""

    def __init__(self, side: int, channels: int) -> None:
        self.side, self.channels = side, channels

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        shape = (len(indices), self.side, self.side, self.channels)
        pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
        return pixels.permute(0, 3, 1, 2), torch.full((len(indices), 2), self.side)


def _job_seconds(
    config: StudyConfig,
    job: Job,
    labels: np.ndarray | None,
    split: Split,
    steps: Mapping[Kind, float],
    embedding: _Embedding,
    share: float = 1.0,
) -> float:
    """Seconds of a job, of whose epochs a scheduler is expected to run this share."""
    cell = job.cells[0]
    width, seconds_per_image = embedding[cell.method, cell.backbone]
    images = len(split.train) + len(split.val) + len(split.test)
    evaluating = SECONDS_PER_CELL * len(job.cells) + seconds_per_image * images
    subsets = [draw_subset(labels, split.train, per_class=c.per_class, seed=c.seed) for c in job.cells]
    if labels is not None:
        evaluating += sum(_probe_seconds(np.bincount(labels[subset]), width) for subset in subsets)
    if "finetune" in config.evaluate and labels is not None:
        tuned = sum(map(len, subsets))
        passes = config.finetune_epochs * len(config.finetune_lrs)
        evaluating += passes * tuned / config.batch_size * steps[FINE_TUNING, cell.backbone, AUGMENTATION]
    if cell.augmentation is None:
        return evaluating
    chosen = "all" if job.shared else cell.per_class
    images = len(draw_subset(labels, split.train, per_class=chosen, seed=cell.seed))
    plan = TrainingPlan.of(config, 0, epochs=config.epochs, lr=0.0, min_steps=config.min_steps)
    sides = replace(plan, grow_from=config.grow_from).sides
    full_steps = sum((side / config.side) ** 2 for side in sides) * plan.passes(images) * images / config.batch_size
    return share * full_steps * steps[kind_of(job)] + evaluating


def _probe_seconds(counts: np.ndarray, width: int) -> float:
    """Seconds of solving a cell's probes on so many images per class; with few classes, hardly any."""
    counts = counts[counts > 0]
    probes = [(1, int(counts.sum())), *((DRAWS, k * len(counts)) for k in drawable(counts.tolist()))]
    products = sum(number * images * len(counts) * min(images, width) for number, images in probes)
    return SECONDS_PER_PRODUCT * products


def _study_bytes(
    config: StudyConfig, grid: GridOfStudy, split: Split, networks: Mapping[tuple[str, str], Backbone]
) -> float:
    """Embeddings, pictures and kept weights."""
    evaluated = len(split.test) or min(len(split.train), config.map_points)
    total = 0.0
    for candidate, network in networks.items():
        cells = [cell for cell in grid.cells if (cell.method, cell.backbone) == candidate]
        weights = sum(t.numel() * t.element_size() for t in network.network.state_dict().values())
        kept = {"all": len(cells), "none": 0, "best": len({replace(c, lr=None, augmentation=None) for c in cells})}
        total += len(cells) * (evaluated * (2.0 * network.num_features + 400) + 300e3) + kept[config.keep] * weights
    return total
