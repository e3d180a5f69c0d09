"""Cells and their expansion: the grid of a study, as plain values.

Pure functions over small frozen dataclasses; nothing here touches files or imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

PerClass = int | Literal["all"]
Protocol = Literal["data-regime", "label-efficiency"]


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
    needs_tokens : bool
        True if it needs the tokens of patches that a vision transformer has.
    keeps_weights : bool
        False if it starts from random weights whatever initial weights are given.
    augmentation : str or None
        The one policy that it is trained with, whatever the study's are; None where it takes them.
    can_fuse : bool
        Whether trainings that differ in learning rate alone may be computed as one batched network.
    can_distribute : bool
        Whether several devices may share its training.
    """

    trains: bool = True
    uses_labels: bool = False
    needs_tokens: bool = False
    keeps_weights: bool = True
    augmentation: str | None = None
    can_fuse: bool = True
    can_distribute: bool = True


@dataclass(frozen=True)
class Cell:
    """One point of the grid.

    Attributes
    ----------
    method : str
        Name of the method, for example ``"moco"``.
    augmentation : str or None
        Name of the augmentation policy; None where the method does not train.
    lr : float or None
        Learning rate, greater than 0; None where the method does not train.
    per_class : int or "all"
        Training images (data-regime) or labels (label-efficiency) per class.
    seed : int
        Draws the subset, the initial weights of the heads, the order and the views.
    """

    method: str
    augmentation: str | None
    lr: float | None
    per_class: PerClass
    seed: int

    @property
    def id(self) -> str:
        """Readable and unique in a study, for example ``moco-weak-lr0.06-n20-s0``."""
        parts = [self.method]
        if self.augmentation is not None:
            parts.append(self.augmentation)
        if self.lr is not None:
            parts.append(f"lr{format_lr(self.lr)}")
        parts += [f"n{self.per_class}", f"s{self.seed}"]
        return "-".join(parts)

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


def format_lr(lr: float) -> str:
    """Shortest text that reads back as the same float: 0.06, 0.0003, 1, 10."""
    text = repr(float(lr))
    text = re.sub(r"\.0$", "", text)
    return text.replace("e-0", "e-")


def expand(
    *,
    methods: Sequence[str],
    augmentations: Sequence[str],
    lrs: Sequence[float | str],
    per_class: Sequence[PerClass],
    seeds: int,
    tags: Mapping[str, Tags],
    rates: Mapping[str, float] = {},
) -> list[Cell]:
    """All cells of a grid, in the order of its axes, the seeds outermost.

    A method that does not train has no augmentation and no learning rate, so it appears once per
    number of images and seed. Seeds come outermost so that a study stopped half-way holds whole
    replicates. A learning rate such as ``"3x"`` is so many times the method's own of `rates`, to three digits.
    """
    cells = []
    for seed in range(seeds):
        for method in methods:
            trains, own = tags[method].trains, tags[method].augmentation
            for augmentation in ([own] if own else augmentations) if trains else [None]:
                for lr in dict.fromkeys(_rate(lr, rates.get(method, 0.0)) for lr in lrs) if trains else [None]:
                    cells += [Cell(method, augmentation, lr, n, seed) for n in per_class]
    return cells


def _rate(lr: float | str, own: float) -> float:
    return float(f"{own * float(lr.removesuffix('x')):.3g}") if isinstance(lr, str) else lr


def group_jobs(cells: Iterable[Cell], *, protocol: Protocol, tags: Mapping[str, Tags]) -> list[Job]:
    """Cells joined where one training serves several of them, in order of first appearance."""
    members: dict[tuple[Cell, bool], list[Cell]] = {}
    for cell in cells:
        method = tags[cell.method]
        shared = not method.trains or (protocol == "label-efficiency" and not method.uses_labels)
        key = replace(cell, per_class="all") if shared else cell
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
