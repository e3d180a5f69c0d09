"""Items: what a data set says of each image, and the same of all of them as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
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


def name_of(label: str | tuple[str, ...]) -> str:
    """An item's label in one text."""
    return label if isinstance(label, str) else BETWEEN_LABELS.join(label)


def label_names(items: Iterable[Item]) -> list[str]:
    """All labels that the items have, sorted."""
    kinds = {item.label for item in items if item.label is not None}
    return sorted({name for kind in kinds for name in ([kind] if isinstance(kind, str) else kind)})


def have_several(items: Iterable[Item]) -> bool:
    """Whether the items may have several labels each."""
    return any(isinstance(item.label, tuple) for item in items)


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
        classes, kinds = label_names(items), {item.label for item in items if item.label is not None}
        number = {kind: index for index, kind in enumerate(sorted(kinds, key=name_of))}
        side: dict[str | None, int] = {name: place for place, name in enumerate(SIDES)}
        folds = np.zeros((1 + max((max(item.folds, default=-1) for item in items), default=-1), len(items)), bool)
        for index, item in enumerate(items if len(folds) else ()):
            folds[list(item.folds), index] = True
        grouped = any(item.group is not None for item in items)
        return cls(
            tuple(item.name for item in items),
            tuple(classes),
            np.array([UNKNOWN if item.label is None else number[item.label] for item in items], np.int64),
            np.array([side.get(item.split, NO_SIDE) for item in items], np.int64),
            tuple(item.group for item in items) if grouped else (),
            folds,
            np.array([[name in kind for name in classes] for kind in number]) if have_several(items) else NO_SETS,
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
    return tuple(name_of(tuple(classes[index] for index in np.flatnonzero(row).tolist())) for row in sets)
