"""Items: what a data set says of each image, and the same of all of them as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

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
        classes = sorted({item.label for item in items if item.label is not None})
        number: dict[str | None, int] = {name: index for index, name in enumerate(classes)}
        side: dict[str | None, int] = {name: place for place, name in enumerate(SIDES)}
        folds = np.zeros((1 + max((max(item.folds, default=-1) for item in items), default=-1), len(items)), bool)
        for index, item in enumerate(items if len(folds) else ()):
            folds[list(item.folds), index] = True
        grouped = any(item.group is not None for item in items)
        return cls(
            tuple(item.name for item in items),
            tuple(classes),
            np.array([number.get(item.label, UNKNOWN) for item in items], np.int64),
            np.array([side.get(item.split, NO_SIDE) for item in items], np.int64),
            tuple(item.group for item in items) if grouped else (),
            folds,
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
