"""Items: what a data set says of each image, and the same of all of them as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, overload

import numpy as np

Side = Literal["train", "val", "test"]
SIDES: tuple[Side, ...] = ("train", "val", "test")
#: Places of the sides in :data:`SIDES`, and what stands for none of them.
TRAIN, VAL, TEST, NO_SIDE = 0, 1, 2, -1
#: What stands for the class of an image that has no label.
UNKNOWN = -1
#: What the names of groups begin with, once those that stand alone are groups too.
GROUP = "group "
#: What stands between the labels of an image that has several.
BETWEEN_LABELS = ";"
#: The label sets of images that have one label each.
NO_SETS = np.zeros((0, 0), bool)


class Item(NamedTuple):
    """One image of a data set, before it is opened.

    Attributes
    ----------
    name : str
        Unique: its path relative to the root with ``/``, or such as ``digits/0001``.
    label : str, tuple of str or None
        Name of its class; None where it is unknown. In a data set whose images may have several labels, the different
        names of each one's, sorted.
    split : str or None
        Side of the split that it is given for: ``train``, ``val`` or ``test``; None where selfsup may choose.
    group : str or None
        What it belongs to (a patient, a plant, a video), all of which stays on one side; None where it stands alone.
    folds : tuple of int
        Numbers of the data set's own draws of labels that it is in: a seed draws from that of its number first.
    """

    name: str
    label: str | tuple[str, ...] | None = None
    split: Side | None = None
    group: str | None = None
    folds: tuple[int, ...] = ()


@dataclass(frozen=True)
class ItemTable:
    """Items as arrays.

    Attributes
    ----------
    names : tuple of str, length N
    classes : tuple of str
        Names of classes, or of labels; sorted, empty where no image has a label.
    labels : ndarray of int64, shape (N,)
        Index into `classes`, or into `sets`; ``UNKNOWN`` where there is no label.
    sides : ndarray of int64, shape (N,)
        Given side of the split as its place in ``SIDES``, ``NO_SIDE`` where none is given.
    groups : tuple of str or None, length N
        Empty where no image has a group.
    folds : ndarray of bool, shape (F, N)
        Which images the data set's own draws of labels hold; F is 0 where it has none.
    sets : ndarray of bool, shape (S, len(classes))
        The different sets of labels where images may have several; S is 0 where each has one.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    labels: np.ndarray
    sides: np.ndarray
    groups: tuple[str | None, ...]
    folds: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), bool))
    sets: np.ndarray = field(default_factory=lambda: NO_SETS)

    @classmethod
    def of(cls, items: Sequence[Item]) -> ItemTable:
        """The arrays of these items, in their order."""
        if isinstance(items, TabledItems):
            return items.table
        folds = np.zeros((1 + max((max(item.folds, default=-1) for item in items), default=-1), len(items)), bool)
        for index, item in enumerate(items if len(folds) else ()):
            folds[list(item.folds), index] = True
        labels, splits = [item.label for item in items], [item.split for item in items]
        groups = tuple(item.group for item in items)
        return cls.of_columns([item.name for item in items], labels, splits, groups, folds)

    @classmethod
    def of_columns(
        cls,
        names: Sequence[str],
        labels: Sequence[str | tuple[str, ...] | None],
        splits: Sequence[Side | None],
        groups: tuple[str | None, ...] = (),
        folds: np.ndarray | None = None,
    ) -> ItemTable:
        """The arrays of items of which each attribute is given by itself: a million take no object each."""
        kinds = sorted({label if isinstance(label, tuple) else (label,) for label in {*labels} if label is not None})
        classes = sorted({name for kind in kinds for name in kind})
        several = any(isinstance(label, tuple) for label in labels)
        sets = np.array([[name in kind for name in classes] for kind in kinds]) if several else NO_SETS
        number: dict[Any, int] = {kind if several else kind[0]: index for index, kind in enumerate(kinds)}
        side: dict[str | None, int] = {name: place for place, name in enumerate(SIDES)}
        return cls(
            tuple(names),
            tuple(classes),
            np.fromiter((number.get(label, UNKNOWN) for label in labels), np.int64, len(names)),
            np.fromiter((side.get(split, NO_SIDE) for split in splits), np.int64, len(names)),
            groups if any(group is not None for group in groups) else (),
            np.zeros((0, len(names)), bool) if folds is None else folds,
            sets,
        )

    def take(self, indices: np.ndarray) -> ItemTable:
        """Those of the images at `indices`; a class, or label, of which none is left is none."""
        used, labels = np.unique(self.labels[indices], return_inverse=True)
        used, unknown = used[used != UNKNOWN], int((used == UNKNOWN).sum())
        sets = self.sets[used] if self.several else NO_SETS
        left = np.flatnonzero(sets.any(axis=0)) if self.several else used
        places = indices.tolist()
        return ItemTable(
            tuple(map(self.names.__getitem__, places)),
            tuple(map(self.classes.__getitem__, left.tolist())),
            labels - unknown,  # which stands first
            self.sides[indices],
            tuple(map(self.groups.__getitem__, places)) if self.groups else (),
            self.folds[:, indices] if len(self.folds) else self.folds,
            sets[:, left] if self.several else NO_SETS,
        )

    def item(self, index: int) -> Item:
        """What is said of one image."""
        side, label = int(self.sides[index]), self.class_of(index)
        labels = None if label is None else tuple(label.split(BETWEEN_LABELS))
        return Item(
            self.names[index],
            labels if self.several else label,
            None if side == NO_SIDE else SIDES[side],
            self.groups[index] if self.groups else None,
            tuple(np.flatnonzero(self.folds[:, index]).tolist()) if len(self.folds) else (),
        )

    @property
    def has_labels(self) -> bool:
        """Whether any image has a label."""
        return bool(self.classes)

    @property
    def has_pool(self) -> bool:
        """Whether some images have a label, and others have none."""
        return self.has_labels and bool((self.labels == UNKNOWN).any())

    @property
    def category(self) -> str:
        """What a label names: a class, or where images may have several labels, just a label."""
        return "label" if self.several else "class"

    @property
    def several(self) -> bool:
        """Whether images may have several labels."""
        return len(self.sets) > 0

    @property
    def most_labels(self) -> int:
        """Most labels that an image has."""
        return int(self.sets.sum(axis=1).max(initial=int(self.has_labels)))

    def targets(self, indices: np.ndarray) -> np.ndarray:
        """What the images at `indices` are, as scikit-learn takes it.

        Returns
        -------
        ndarray
            Classes, int64 of shape (n,), ``UNKNOWN`` where there is none; where images may have several labels, which
            of `classes` each has, bool of shape (n, len(classes)).
        """
        labels = self.labels[indices]
        return self.sets[labels] & (labels != UNKNOWN)[:, None] if self.several else labels

    def count(self, indices: np.ndarray) -> np.ndarray:
        """How many of the images at `indices` are of each class, or have each label; int64, an entry per class."""
        labels = self.labels[indices]
        counts = np.bincount(labels[labels != UNKNOWN], minlength=max(len(self.classes), len(self.sets)))
        return counts @ self.sets if self.several else counts

    def fold(self, seed: int) -> np.ndarray | None:
        """Which images a seed draws labels from first, bool of shape (N,); None where the data set does not say."""
        return self.folds[seed] if seed < len(self.folds) else None

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """Names of what `labels` counts: classes, or sets of labels."""
        return set_names(self.sets, self.classes) if self.several else self.classes

    def class_of(self, index: int) -> str | None:
        """Name of the class, or of the labels, of an image; None where it has none."""
        label = int(self.labels[index])
        return None if label == UNKNOWN else self.kinds[label]


def set_names(sets: np.ndarray, classes: Sequence[str]) -> tuple[str, ...]:
    """Each row of `sets`, bool of shape (S, len(classes)), as the names of its labels in one text."""
    return tuple(BETWEEN_LABELS.join(map(classes.__getitem__, np.flatnonzero(row).tolist())) for row in sets)


class TabledItems(Sequence[Item]):
    """The items of a table, each made when it is asked for: of a million, as objects, they would take 0.3 GB."""

    def __init__(self, table: ItemTable) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table.names)

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self.table.item(place) for place in range(len(self))[index]]
        return self.table.item(index)
