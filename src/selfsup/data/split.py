"""Train, validation and test, and the nested subsets of train: pure functions of labels and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selfsup.config.grid import PerClass, images_of
from selfsup.errors import UserError
from selfsup.seeding import derive_seed

TRAIN, VAL, TEST, NO_SIDE = 0, 1, 2, -1
# Orders of the groups that are tried; the best assignment wins. Few groups need many tries, and
# many groups fall into place by themselves.
TRIES, TRIES_TIMES_GROUPS = 64, 20_000


@dataclass(frozen=True)
class Split:
    """Which images are for what.

    Attributes
    ----------
    train, val, test : ndarray of int64
        Sorted indices of images; no index occurs twice, and those of images with conflicting labels may be missing.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


def split_images(
    labels: np.ndarray | None,
    *,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    groups: Sequence[str] | None = None,
    originals: np.ndarray | None = None,
    conflicts: np.ndarray | None = None,
    official_test: np.ndarray | None = None,
    images: int | None = None,
) -> Split:
    """Divide a data set, each class by itself, so that every side looks like the whole.

    A class of one image goes to train, of two to train and test; any larger one has at least one
    image on each side. Unlabelled images are all for training.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,), or None
        Class of each image, 0 and up; None where there are no labels.
    val_fraction, test_fraction : float
        Shares of each class, each in (0, 0.5).
    seed : int
        At least 0. The same seed gives the same split on every machine.
    groups : sequence of str, length N, optional
        Images of one group stay on one side. Classes are then balanced as well as the groups
        allow, and a class may be missing from a side.
    originals : ndarray of int64, shape (N,), optional
        Of each image the one that it is a copy of, or itself. Copies stay on one side, as long as there are no
        `groups`, which go before: in val or test where they find room there, else in train, as do those of several
        classes. Where there are no copies, the split is the same with and without it.
    conflicts : ndarray of bool, shape (N,), optional
        Images of whose pixels the class is not known; left out of val and test.
    official_test : ndarray of bool, shape (N,), optional
        The data set's own test images: they become `test`, and `val_fraction` applies to the rest.
    images : int, optional
        N; needed where `labels` is None.

    Returns
    -------
    Split

    Raises
    ------
    UserError
        If there are too few groups, or a group reaches across `official_test`.
    """
    if labels is None:
        if images is None:
            raise ValueError("images must be given where labels is None")
        nothing = np.zeros(0, np.int64)
        return Split(np.arange(images, dtype=np.int64), nothing, nothing)

    sides = np.full(len(labels), TRAIN)
    shares = np.array([1 - val_fraction - test_fraction, val_fraction, test_fraction])
    if official_test is not None:
        sides[official_test] = TEST
        shares = np.array([1 - val_fraction, val_fraction, 0])
    rest = np.flatnonzero(sides != TEST)
    if groups is None:
        copied = np.arange(len(rest)) if originals is None else originals[rest]
        sides[rest] = _sides_by_class(labels[rest], copied, shares, seed)
    else:
        group = np.unique(np.asarray(groups, dtype=object), return_inverse=True)[1]
        _refuse_straddling(groups, group, sides)
        sides[rest] = _sides_by_group(labels[rest], group[rest], shares, seed)
    if conflicts is not None:
        sides[conflicts & (sides != TRAIN)] = NO_SIDE
    return Split(*(np.flatnonzero(sides == side).astype(np.int64) for side in (TRAIN, VAL, TEST)))


def has_several(labels: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """For every image whether those with the same key have several labels; bool of shape (N,)."""
    place = np.unique(keys, return_inverse=True)[1]
    lowest, highest = np.full(len(labels), labels.max(initial=0)), np.zeros(len(labels), labels.dtype)
    np.minimum.at(lowest, place, labels)
    np.maximum.at(highest, place, labels)
    return (lowest < highest)[place]


def draw_subset(labels: np.ndarray | None, train: np.ndarray, *, per_class: PerClass, seed: int) -> np.ndarray:
    """Draw training images of each class.

    For one seed, the images of a smaller number or share are contained in those of a larger one.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,), or None
        Class of each image; None: all images count as one class.
    train : ndarray of int64
        Indices to draw from.
    per_class : int or str
        A number, of which a class with fewer gives all it has; a share of each class, as
        :func:`~selfsup.config.grid.images_of` rounds it; or ``"all"``.
    seed : int
        At least 0.

    Returns
    -------
    ndarray of int64
        Sorted indices.
    """
    train = np.sort(np.asarray(train, dtype=np.int64))
    if per_class == "all":
        return train
    classes = np.zeros(len(train), np.int64) if labels is None else labels[train]
    drawn = [
        train[members][_shuffle(len(members), seed, "subset", label)[: images_of(per_class, len(members))]]
        for label, members in _members(classes)
    ]
    return np.sort(np.concatenate([np.zeros(0, np.int64), *drawn]))


def _members(labels: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Each class with the positions of its images, in order."""
    order = np.argsort(labels, kind="stable")
    classes, starts = np.unique(labels[order], return_index=True)
    return list(zip(classes.tolist(), np.split(order, starts[1:]), strict=True)) if len(labels) else []


def _shuffle(count: int, seed: int, stream: str, *position: int) -> np.ndarray:
    return np.random.default_rng(derive_seed(seed, stream, *position)).permutation(count)


def _sides_by_class(labels: np.ndarray, originals: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """Images in a random order to test as long as there is room, then to val, the rest to train; copies together.

    A side that would stay empty takes up to twice as many as it has room for, if half of the class is left to train.
    """
    copies = np.unique(originals, return_inverse=True)[1]
    mixed, sizes = has_several(labels, copies), np.bincount(copies)
    side_of = np.full(len(sizes), TRAIN)
    for label, members in _members(labels):
        room = dict(zip((VAL, TEST), _held_out(len(members), shares), strict=True))
        taken = {TEST: 0, VAL: 0}
        order = members[_shuffle(len(members), seed, "split", label)]
        for copy in dict.fromkeys(copies[order[~mixed[order]]].tolist()):
            size = sizes[copy]
            for side in (TEST, VAL):
                spare = not taken[side] and size <= 2 * room[side] and sum(taken.values()) + size <= len(members) // 2
                if taken[side] + size <= room[side] or spare:
                    taken[side] += size
                    side_of[copy] = side
                    break
    return side_of[copies]


def _held_out(count: int, shares: np.ndarray) -> tuple[int, int]:
    """Numbers of val and test images of a class of `count`; train always keeps one."""
    wanted = {side: max(1, int(count * shares[side] + 0.5)) for side in (VAL, TEST) if shares[side]}
    if count == 2 and TEST in wanted:
        wanted[VAL] = 0
    while sum(wanted.values()) > count - 1:
        wanted[max(wanted, key=lambda side: wanted[side])] -= 1
    return wanted[VAL], wanted.get(TEST, 0)


def _refuse_straddling(groups: Sequence[str], group: np.ndarray, sides: np.ndarray) -> None:
    across = np.intersect1d(group[sides == TEST], group[sides != TEST])
    if len(across):
        example = groups[int(np.flatnonzero(group == across[0])[0])]
        raise UserError(
            f"{len(across)} of the groups of --group (such as '{example}') have images inside and outside "
            "the data set's own test images; choose groups that lie on one side of it, or leave --group out."
        )


def _sides_by_group(labels: np.ndarray, group: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """Whole groups to sides, so that the counts per class come close to `shares` of each class."""
    group = np.unique(group, return_inverse=True)[1]
    label = np.unique(labels, return_inverse=True)[1]
    counts = np.zeros((group.max(initial=-1) + 1, label.max(initial=-1) + 1), np.int64)
    np.add.at(counts, (group, label), 1)
    needed = int((shares > 0).sum())
    if len(counts) < needed:
        raise UserError(
            f"--group makes {len(counts)} group(s) of the images to divide, and at least {needed} are needed "
            "to fill every side of the split; choose smaller groups."
        )
    targets = shares[:, None] * counts.sum(0)
    rng = np.random.default_rng(derive_seed(seed, "split groups"))
    tries = int(np.clip(TRIES_TIMES_GROUPS // len(counts), 1, TRIES))
    candidates = [_assign(counts, targets, rng) for _ in range(tries)]
    return min(candidates, key=lambda sides: _imbalance(sides, counts, targets))[group]


def _assign(counts: np.ndarray, targets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Large groups first, each to the side that it brings nearest to its targets."""
    order = np.argsort(-counts.sum(1) * rng.uniform(0.5, 1.5, len(counts)), kind="stable")
    sides = np.full(len(counts), TRAIN)
    have = np.zeros(targets.shape)
    scale = np.maximum(targets, 1)
    usable = np.flatnonzero(targets.sum(1) > 0)
    for turn, index in enumerate(order):
        empty = [side for side in usable if not have[side].any()]
        allowed = np.array(empty) if len(empty) >= len(order) - turn else usable
        before, after = have - targets, have + counts[index] - targets
        change = ((after**2 - before**2) / scale).sum(1)
        sides[index] = allowed[np.argmin(change[allowed])]
        have[sides[index]] += counts[index]
    return sides


def _imbalance(sides: np.ndarray, counts: np.ndarray, targets: np.ndarray) -> float:
    """Share of images on the wrong side, and a price for each class that a side lacks."""
    have = np.stack([counts[sides == side].sum(0) for side in (TRAIN, VAL, TEST)])
    lacking = ((have == 0) & (targets > 0)).mean(1)
    price = np.array([4.0, 1.0, 2.0])  # a class unseen in training cannot be learned at all
    return float(np.abs(have - targets).sum() / counts.sum() + (price * lacking).sum())
