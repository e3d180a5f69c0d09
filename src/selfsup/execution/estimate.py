"""What a study would take: its cells, time and disk, from a few timed steps on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.config.schema import StudyConfig
from selfsup.data.audit import AuditEntry, small_classes
from selfsup.data.build import none_readable
from selfsup.data.items import UNKNOWN, ItemTable
from selfsup.data.opening import pixel_limit, set_aside
from selfsup.data.rendering import Renderer, Rendering, describe_channels
from selfsup.data.sources.base import Source, silent
from selfsup.data.split import Split
from selfsup.execution.budgets.budgeted_scheduler import Budget
from selfsup.execution.budgets.budgeting import FittedStudy, fit_into_budget
from selfsup.execution.budgets.job_costs import JobCosts
from selfsup.execution.configuration import ImagesSeen, resolve_configuration
from selfsup.execution.executors.base import Executor, Resources
from selfsup.execution.external_test import open_external
from selfsup.execution.grid_words import about_sizes
from selfsup.execution.image_source import open_images
from selfsup.execution.initial_weights import require_weights
from selfsup.execution.known_images import require_same_names
from selfsup.execution.preparation import (
    describe_split,
    require_enough,
    require_resplit,
    require_shared_batches,
    split_study,
)
from selfsup.execution.resolved_study import resolve_study
from selfsup.execution.resources import resolve_resources, time_precision
from selfsup.execution.schedulers import jobs_ahead, share_of
from selfsup.execution.schedulers.base import read_records
from selfsup.execution.study_grid import GridOfStudy
from selfsup.execution.study_networks import asked_network
from selfsup.execution.teachers import require_teachers, resolve_teachers
from selfsup.record.folder import StudyFolder
from selfsup.record.results import FINAL, PRUNED
from selfsup.record.storage import local_folder

#: Most images of the source that are opened to learn how large they are, and whether they can be.
OPENED_IMAGES = 1000
#: Seconds for a worker's start; measured on two cores and rounded up.
SECONDS_PER_START = 10.0


@dataclass(frozen=True)
class Plan:
    """What running a study would take.

    Attributes
    ----------
    config : StudyConfig
    grid : GridOfStudy
        Of what fits into the budget, where there is one.
    finished : frozenset of str
        Ids of those of its cells that the study already has,
    stopped : frozenset of str
        and of those whose training was stopped early, and does not go on unless a budget has time left for it.
    resources : Resources
    images : int
        Images found, but for those that could not be opened.
    classes : tuple of str
        Names of their classes, empty without labels, and where an image may have several.
    opened : int
        Images that could be opened, of those that were tried; none was decoded.
    audit : tuple of AuditEntry
        What was noticed on the way; a run, which decodes all images, may notice more.
    budget : FittedStudy or None
        What of the grid fits into the budget; None without one, or where nothing is left.
    seconds : float
        Estimated time of the cells that are left, with the resources' workers; with a budget, that.
    bytes : float
        Estimated disk of the study's folder when finished.
    store_bytes : float
        Estimated disk of the decoded images, shared by all studies of them.
    """

    config: StudyConfig
    grid: GridOfStudy
    finished: frozenset[str]
    stopped: frozenset[str]
    resources: Resources
    budget: FittedStudy | None
    images: int
    classes: tuple[str, ...]
    opened: int
    audit: tuple[AuditEntry, ...]
    seconds: float
    bytes: float
    store_bytes: float


def plan_study(
    values: Mapping[str, Any],
    *,
    out: str | Path | None = None,
    executor: Executor | None = None,
    say: Callable[[str], None] = silent,
) -> Plan:
    """Lay out the grid and estimate what it takes; runs no cell and decodes no image.

    Parameters
    ----------
    values : mapping
        Raw configuration values.
    out : str or Path, optional
        A study's folder or address: its finished cells need not run again.
    executor : Executor, optional
        Where the cells would run; in worker processes of this machine by default.
    say : callable, optional
        Takes a line of progress.

    Raises
    ------
    UserError
        If something does not fit, by itself or into the study, or images of the study are gone.
    """
    began = time.monotonic()
    folder = None if out is None else StudyFolder(local_folder(out))
    if folder is not None:
        folder.require_free()
    here = executor is None or executor.here
    config = resolve_configuration(folder, values, here=here)
    resolve_teachers(config, folder)
    source = open_images(config, say)
    with pixel_limit(config.max_pixels):
        glance = _glance(source, config)
        channels = Renderer(source, Rendering.asked(channels=config.channels)).file_channels()
    rendering = Rendering(channels=config.channels, file_channels=channels)
    items = ItemTable.of(source.items)
    if folder is not None:
        require_same_names(items.names, folder, config)
    if glance.audit:
        items = items.take(np.flatnonzero(~np.isin(items.names, [entry.path for entry in glance.audit])))
    require_weights(config, folder, lambda: channels)
    split, groups = split_study(config, items)
    require_enough(items, split, config)
    require_shared_batches(config, items)
    study = resolve_study(config, values, ImagesSeen(items, rendering, [glance.short_side]), folder, say)
    config, grid = study.config, study.grid
    if config.resplit:
        require_resplit(items, split, split_study(config, items, seed=1)[0], config)
    external = 0 if config.test_data is None else _labelled(open_external(config, items.classes, say))
    require_teachers(config, folder, lambda: channels)
    noticed = [*describe_split(config, items, split, groups), *small_classes(items, split, config.per_class)]
    records = read_records(folder) if folder else {}
    left = jobs_ahead(config, folder or StudyFolder(Path()), grid.jobs, records)
    finished = {cell for cell, record in records.items() if record.status in FINAL}
    stopped = {cell for cell, record in records.items() if record.status == PRUNED}
    if config.budget is None:  # or there may be time for those
        stopped -= {cell.id for job in left for cell in job.cells}
    if executor is not None and here:
        resources = executor.resources(config, len(grid.jobs), resolve_resources)
    else:  # other machines are taken to be as this one
        resources = resolve_resources(config, len(grid.jobs))
    resources = time_precision(config, resources, left, len(items.names))
    costs = JobCosts.measure(config, left, items, split, resources, glance.side, external=external)
    seconds = costs.wall(left, share_of(config, folder or StudyFolder(Path())), resources.workers)
    fitted = None
    if config.budget and left:
        budget = Budget(config.budget, began, time.monotonic())
        fitted = fit_into_budget(budget, study.asked, folder, grid.jobs, costs, resources.workers)
        seconds = fitted.seconds
        grid = replace(grid, cells=fitted.cells, jobs=tuple(j for j in grid.jobs if {*j.cells} <= {*fitted.cells}))
        config = config.model_copy(update=fitted.changes)
    grid = replace(grid, notices=(*grid.notices, *about_sizes(grid.cells, config, items, split.train)))
    return Plan(
        config=config,
        grid=grid,
        finished=frozenset(finished) & {cell.id for cell in grid.cells},
        stopped=frozenset(stopped) & {cell.id for cell in grid.cells},
        resources=resources,
        budget=fitted,
        images=len(items.names),
        classes=() if items.several else items.classes,
        opened=glance.opened,
        audit=(*source.ignored, *glance.audit, *describe_channels(rendering), *noticed),
        seconds=seconds + SECONDS_PER_START if left else 0.0,
        bytes=_study_bytes(config, grid, split),
        store_bytes=float(config.in_channels) * len(items.names) * glance.side**2,
    )


@dataclass(frozen=True)
class _Glance:
    """What opening some images shows: how many they were, their typical stored sides in pixels, and what did not open.

    `side` is the root of the area.
    """

    opened: int
    side: int
    short_side: float
    audit: tuple[AuditEntry, ...]


def _glance(source: Source, config: StudyConfig) -> _Glance:
    """Open images that lie evenly in the source, without decoding them; refused where none can be opened."""
    sides, short_sides, audit = [], [], []
    chosen = np.unique(np.linspace(0, len(source.items) - 1, OPENED_IMAGES).astype(int)).tolist()
    for index in chosen:
        try:
            with source.open(index) as image:
                width, height = image.size
        except Exception as error:  # whatever an image's reader raises sets the image aside
            audit.append(set_aside(source.items[index].name, error))
        else:
            scale = min(1.0, config.resolved_store_size / min(width, height))
            sides.append(scale * math.sqrt(width * height))
            short_sides.append(scale * min(width, height))
    if not sides:
        raise none_readable(source.name, len(audit), audit)
    side = max(1, round(float(np.median(sides))))
    return _Glance(len(sides), side, float(np.median(short_sides)), tuple(audit))


def _labelled(source: Source) -> int:
    """How many of a source's images have a label."""
    return int((ItemTable.of(source.items).labels != UNKNOWN).sum())


def _study_bytes(config: StudyConfig, grid: GridOfStudy, split: Split) -> float:
    """Embeddings, pictures and kept weights."""
    evaluated = len(split.test) or min(len(split.train), config.map_points)
    total = 0.0
    for candidate in dict.fromkeys((cell.method, cell.backbone) for cell in grid.cells):
        cells = [cell for cell in grid.cells if (cell.method, cell.backbone) == candidate]
        network = asked_network(config, *candidate)
        weights = sum(t.numel() * t.element_size() for t in network.network.state_dict().values())
        kept = {"all": len(cells), "none": 0, "best": len({replace(c, lr=None, augmentation=None) for c in cells})}
        total += len(cells) * (evaluated * (2.0 * network.num_features + 400) + 300e3) + kept[config.keep] * weights
    return total
