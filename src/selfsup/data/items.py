"""Items: what a data set says of each image, and the same of all of them as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, overload

import numpy as np

Side = Literal["train", "val", "test"]
SIDES: tuple[Side, ...] = ("train", "val", "test")
#: Places of the sides in :data:`SIDES`, and what stands for none of them.
TRAIN, VAL, TEST, NO_SIDE = 0, 1, 2, -1
#: What stands for the class of an image that has no label.
UNKNOWN = -1
#: What the names of groups begin with, once those that stand alone are groups too.
GROUP = "group "


class Item(NamedTuple):
    """One image of a data set, before it is opened.

    Attributes
    ----------
    name : str
        Unique: its path relative to the root with ``/``, or such as ``digits/0001``.
    label : str or None
        Name of its class; None where it is unknown.
    split : str or None
        Side of the split that it is given for: ``train``, ``val`` or ``test``; None where selfsup may choose.
    group : str or None
        What it belongs to (a patient, a plant, a video), all of which stays on one side; None where it stands alone.
    folds : tuple of int
        Numbers of the data set's own draws of labels that it is in: a seed draws from that of its number first.
    """

    name: str
    label: str | None = None
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
        Sorted; empty where no image has a label.
    labels : ndarray of int64, shape (N,)
        Index into `classes`, ``UNKNOWN`` where there is no label.
    sides : ndarray of int64, shape (N,)
        Given side of the split as its place in ``SIDES``, ``NO_SIDE`` where none is given.
    groups : tuple of str or None, length N
        Empty where no image has a group.
    folds : ndarray of bool, shape (F, N)
        Which images the data set's own draws of labels hold; F is 0 where it has none.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    labels: np.ndarray
    sides: np.ndarray
    groups: tuple[str | None, ...]
    folds: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), bool))

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
        labels: Sequence[str | None],
        splits: Sequence[Side | None],
        groups: tuple[str | None, ...] = (),
        folds: np.ndarray | None = None,
    ) -> ItemTable:
        """The arrays of items of which each attribute is given by itself: a million take no object each."""
        classes = sorted({label for label in labels if label is not None})
        number: dict[str | None, int] = {name: index for index, name in enumerate(classes)}
        side: dict[str | None, int] = {name: place for place, name in enumerate(SIDES)}
        return cls(
            tuple(names),
            tuple(classes),
            np.fromiter((number.get(label, UNKNOWN) for label in labels), np.int64, len(names)),
            np.fromiter((side.get(split, NO_SIDE) for split in splits), np.int64, len(names)),
            groups if any(group is not None for group in groups) else (),
            np.zeros((0, len(names)), bool) if folds is None else folds,
        )

    def take(self, indices: np.ndarray) -> ItemTable:
        """Those of the images at `indices`; a class of which none is left is none."""
        used, labels = np.unique(self.labels[indices], return_inverse=True)
        places = indices.tolist()
        return ItemTable(
            tuple(map(self.names.__getitem__, places)),
            tuple(self.classes[label] for label in used.tolist() if label != UNKNOWN),
            labels - int((used == UNKNOWN).sum()),  # what is unknown stands first
            self.sides[indices],
            tuple(map(self.groups.__getitem__, places)) if self.groups else (),
            self.folds[:, indices] if len(self.folds) else self.folds,
        )

    def item(self, index: int) -> Item:
        """What is said of one image."""
        side = int(self.sides[index])
        return Item(
            self.names[index],
            self.class_of(index),
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

    def count(self, indices: np.ndarray) -> np.ndarray:
        """How many of the images at `indices` are of each class; int64, an entry per class."""
        labels = self.labels[indices]
        return np.bincount(labels[labels != UNKNOWN], minlength=len(self.classes))

    def fold(self, seed: int) -> np.ndarray | None:
        """Which images a seed draws labels from first, bool of shape (N,); None where the data set does not say."""
        return self.folds[seed] if seed < len(self.folds) else None

    def class_of(self, index: int) -> str | None:
        """Name of the class of an image; None where it has no label."""
        label = int(self.labels[index])
        return None if label == UNKNOWN else self.classes[label]


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
