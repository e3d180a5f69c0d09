"""Cells and their expansion: the grid of a study, as plain values.

Pure functions over small frozen dataclasses; nothing here touches files or imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal, Self

from selfsup.config.axes import AXES
from selfsup.config.network_source import NONE, NetworkSource

#: Training images (or labels) per class: a number, a share of what each class has such as ``"10%"``, or ``"all"``.
PerClass = int | str
Protocol = Literal["auto", "data-regime", "label-efficiency"]


def images_of(size: PerClass, available: int) -> int:
    """How many of a class of `available` training images a size takes: no more than there are.

    A share is rounded to the nearest whole number, a half upwards, and takes at least one.
    """
    percent = percent_of(size)
    if percent is None:
        return min(int(size), available)
    return min(max(1, math.floor((percent * available + 50) / 100)), available)


def percent_of(size: PerClass) -> Fraction | None:
    """The percentage of each class that a size is, as it is written; None where it is a number."""
    if size == "all":
        return Fraction(100)
    return Fraction(size.removesuffix("%")) if isinstance(size, str) else None


@dataclass(frozen=True)
class Tags:
    """What the grid, the checks and the error messages must know of a method.

    Attributes
    ----------
    trains : bool
        False for a baseline that has no training loop; its cells have no augmentation and no
        learning rate.
    uses_labels : bool
        True if training reads labels, so that each number of labels needs its own training even
        under the label-efficiency protocol.
    takes_several_labels : bool
        True if it reads labels and images may have several: they are then bool, of shape (n, classes).
    needs_tokens : bool
        True if it needs the tokens of patches that a vision transformer has.
    needs_teacher : bool
        True if it learns from what a trained network, its setting `teacher`, makes of the training images.
    keeps_weights : bool
        False if it starts from random weights whatever initial weights are given.
    augmentation : str or None
        The one policy that it is trained with, whatever the study's are; None where it takes them.
    can_fuse : bool
        Whether trainings that differ in learning rate alone may be computed as one batched network.
    can_distribute : bool
        Whether several devices may share its training.
    of_references : bool
        True for the one that takes the study's references in place of its networks; nothing of it depends on the seed.
    without_weights : str or None
        The method that it is the same as on a network without initial weights, whose cell is run in place of its own.
    """

    trains: bool = True
    uses_labels: bool = False
    takes_several_labels: bool = False
    needs_tokens: bool = False
    needs_teacher: bool = False
    keeps_weights: bool = True
    augmentation: str | None = None
    can_fuse: bool = True
    can_distribute: bool = True
    of_references: bool = False
    without_weights: str | None = None


@dataclass(frozen=True)
class Cell:
    """One point of the grid.

    Attributes
    ----------
    method : str
        Name of the method, for example ``"moco"``.
    backbone : str
        Label of the network and its initial weights, for example ``"resnet18"`` or ``"resnet18@imagenet"``.
    augmentation : str or None
        Name of the augmentation policy; None where the method does not train.
    lr : float or None
        Learning rate, greater than 0; None where the method does not train.
    per_class : int or str
        Training images (data-regime) or labels (label-efficiency) per class: a number, a share such as ``"10%"``,
        or ``"all"``.
    seed : int
        Draws the subset, the initial weights of the heads, the order and the views.
    lr_multiple : float or None
        Where the learning rate was asked for as a multiple of the method's own, that multiple; no part of the id.
    """

    method: str
    backbone: str
    augmentation: str | None
    lr: float | None
    per_class: PerClass
    seed: int
    lr_multiple: float | None = field(default=None, compare=False)

    @property
    def id(self) -> str:
        """Readable and unique in a study, for example ``moco-resnet18-weak-lr0.06-n20-s0``."""
        values = ((axis, getattr(self, axis.name)) for axis in AXES)
        return "-".join(axis.written(value) for axis, value in values if value is not None)

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True)
class Job:
    """Cells that share one training: the unit of work of an executor.

    Under the data-regime protocol, a job of a method that trains holds one cell. Under
    label-efficiency, one pretraining serves every number of labels. A method that does not
    train embeds the images once for all its cells of one seed.

    Attributes
    ----------
    cells : tuple of Cell
        In the order of the grid.
    shared : bool
        True if the training does not depend on the number of images per class.
    until : int or None
        Epochs after which the training is to pause, with its checkpoint saved; None for its end.
    fused : int or None
        Where the cells are of several learning rates, whose trainings are computed as one batched network: the
        number of this set of learning rates among those of the grid.
    """

    cells: tuple[Cell, ...]
    shared: bool = False
    until: int | None = None
    fused: int | None = None

    @property
    def id(self) -> str:
        """The cell's id; for a shared or fused training the same whichever of its cells are left to do."""
        first = self.cells[0]
        if self.fused is not None:
            return (
                f"{replace(first, lr=None, per_class='all' if self.shared else first.per_class).id}-fused{self.fused}"
            )
        return f"{replace(first, per_class='all').id}-shared" if self.shared else first.id

    @property
    def trainings(self) -> tuple[Job, ...]:
        """The trainings, each as a job of its own: one, or where they are fused one per learning rate."""
        if self.fused is None:
            return (self,)
        members: dict[float | None, list[Cell]] = {}
        for cell in self.cells:
            members.setdefault(cell.lr, []).append(cell)
        return tuple(replace(self, cells=tuple(cells), fused=None) for cells in members.values())

    def to_dict(self) -> dict[str, Any]:
        """The job as plain values, as one process tells another of it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The job that :meth:`to_dict` wrote."""
        return cls(**{**values, "cells": tuple(Cell(**cell) for cell in values["cells"])})

    def without(self, finished: Set[str]) -> Job | None:
        """The job with the cells of these ids taken out; None if nothing is left."""
        left = tuple(cell for cell in self.cells if cell.id not in finished)
        return replace(self, cells=left) if left else None


def expand(
    *,
    methods: Sequence[str],
    backbones: Sequence[NetworkSource],
    references: Sequence[NetworkSource] = (),
    augmentations: Sequence[str],
    lrs: Sequence[float | str],
    per_class: Sequence[PerClass],
    seeds: int,
    tags: Mapping[str, Tags],
    rates: Mapping[tuple[str, str], float] = {},
) -> list[Cell]:
    """All cells of a grid, in the order of its axes, the seeds outermost.

    A method that does not train has no augmentation and no learning rate, so it appears once per
    network, number of images and seed; one that keeps no weights, once per architecture; one that without weights
    is the same as another method, as that one. Seeds come outermost so that a study stopped half-way holds whole
    replicates. A learning rate such as ``"3x"`` is so many times the method's own of `rates`, by method and label of
    the network, to three digits.
    """
    cells = []
    for seed in range(seeds):
        for method in methods:
            known = tags[method]
            networks = references if known.of_references else backbones
            for network in networks if known.keeps_weights else [replace(source, weights=NONE) for source in networks]:
                own = rates.get((method, network.label), 0.0)
                name = (known.without_weights if network.weights == NONE else None) or method
                for augmentation, lr, multiple in _settings(known, augmentations, lrs, own):
                    cells += [Cell(name, network.label, augmentation, lr, n, seed, multiple) for n in per_class]
    return list(dict.fromkeys(cells))


def _settings(
    tags: Tags, augmentations: Sequence[str], lrs: Sequence[float | str], own: float
) -> Iterator[tuple[str | None, float | None, float | None]]:
    """Augmentation, learning rate and the multiple that it is of a method's `own`; one of nothing without training."""
    if not tags.trains:
        yield None, None, None
        return
    for augmentation in [tags.augmentation] if tags.augmentation else augmentations:
        for lr in lrs:
            if isinstance(lr, str):
                multiple = float(lr.removesuffix("x"))
                yield augmentation, float(f"{own * multiple:.3g}"), multiple
            else:
                yield augmentation, lr, None


def group_jobs(cells: Iterable[Cell], *, protocol: Protocol, tags: Mapping[str, Tags]) -> list[Job]:
    """Cells joined where one training serves several of them, in order of first appearance."""
    members: dict[tuple[Cell, bool], list[Cell]] = {}
    for cell in cells:
        method = tags[cell.method]
        shared = not method.trains or (protocol == "label-efficiency" and not method.uses_labels)
        key = replace(cell, per_class="all") if shared else cell
        if method.of_references:
            key = replace(key, seed=0)
        members.setdefault((key, shared), []).append(cell)
    return [Job(tuple(group), shared) for (_, shared), group in members.items()]


def unfinished(jobs: Iterable[Job], finished: Set[str]) -> list[Job]:
    """The jobs that are left to do, without the cells whose ids are in `finished`."""
    return [left for job in jobs if (left := job.without(finished)) is not None]


def fuse_jobs(jobs: Iterable[Job], among: Iterable[Job], most: int) -> list[Job]:
    """Jobs that differ only in learning rate joined, at most so many trainings each, in order of first appearance.

    Which learning rates belong together follows from `among`, the jobs of the whole grid, and so does not change
    when some of them are finished.
    """
    sets: dict[str, int] = {}
    seen: dict[Any, int] = {}
    for job in among:
        place = seen[_but_for_lr(job)] = seen.get(_but_for_lr(job), -1) + 1
        sets[job.id] = place // most
    members: dict[Any, list[Job]] = {}
    for job in jobs:
        alone = most == 1 or job.cells[0].lr is None
        members.setdefault(job.id if alone else (_but_for_lr(job), job.until, sets[job.id]), []).append(job)
    return [
        replace(group[0], cells=tuple(cell for job in group for cell in job.cells), fused=sets[group[0].id])
        if len(group) > 1
        else group[0]
        for group in members.values()
    ]


def _but_for_lr(job: Job) -> Cell:
    first = job.cells[0]
    return replace(first, lr=None, per_class="all" if job.shared else first.per_class)
