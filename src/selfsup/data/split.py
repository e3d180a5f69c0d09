"""Train, validation and test, and the nested subsets of train: pure functions of labels and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selfsup.config.grid import PerClass, images_of
from selfsup.data.items import GROUP, NO_SETS, NO_SIDE, TEST, TRAIN, UNKNOWN, VAL
from selfsup.data.several_labels import drawn_in_rounds, sides_by_label
from selfsup.errors import UserError
from selfsup.seeding import derive_seed

# Orders of the groups that are tried; the best assignment wins. Few groups need many tries, and
# many groups fall into place by themselves.
TRIES, TRIES_TIMES_GROUPS = 64, 20_000


@dataclass(frozen=True)
class Split:
    """Which images are for what.

    Attributes
    ----------
    train, val, test : ndarray of int64
        Sorted indices of images; no index occurs twice. `val` and `test` hold images with a label only. In none are
        images with conflicting labels that would be evaluated, and those without a label that training may not see.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


def split_suffix(seed: int, *, resplit: bool) -> str:
    """What names of files have at their end that go with the split of `seed`: nothing, where it is that of all."""
    return f"-s{seed}" if resplit and seed else ""


def split_images(
    labels: np.ndarray,
    *,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    groups: Sequence[str] | None = None,
    originals: np.ndarray | None = None,
    conflicts: np.ndarray | None = None,
    given: np.ndarray | None = None,
    sets: np.ndarray = NO_SETS,
) -> Split:
    """Divide a data set, each class by itself, so that every side looks like the whole.

    A class of one image goes to train, of two to train and test; any larger one has at least one
    image on each side. Where images may have several labels, each label is a class, and this holds as far as labels
    that come together allow. Images without a label are for training, but for those that would tell it of an image
    that is held out: its copies, and those of its group.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
        Class of each image, 0 and up; ``UNKNOWN`` where it has no label.
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
    given : ndarray of int64, shape (N,), optional
        Side that each image is given for, ``NO_SIDE`` where that is open. Images stay on their given side. Those of
        their group that are open follow them; where there are no groups, their open copies are for training, or on no
        side if one of them is held out. A side of which no image is given is drawn from the others that are open; if
        there are none, from train.
    sets : ndarray of bool, shape (S, classes), optional
        Where images have several labels, which ones each number in `labels` stands for.

    Returns
    -------
    Split

    Raises
    ------
    UserError
        If there are too few groups, or a group reaches across given sides.
    """
    given = np.full(len(labels), NO_SIDE) if given is None else given
    group = None if groups is None else np.unique(np.asarray(groups, dtype=object), return_inverse=True)[1]
    sides = np.where(given == NO_SIDE, TRAIN, given)
    labelled = np.flatnonzero(labels != UNKNOWN)
    stated, rest = labelled[given[labelled] != NO_SIDE], labelled[given[labelled] == NO_SIDE]
    if groups is not None and group is not None:
        _refuse_straddling(groups, group, stated, given)
        bound = _sides_stated(group, stated, given)[rest]
        sides[rest] = np.where(bound == NO_SIDE, TRAIN, bound)
        rest = rest[bound == NO_SIDE]
    elif originals is not None:
        bound = _sides_stated(originals, stated, given)[rest]
        sides[rest[bound > TRAIN]] = NO_SIDE
        rest = rest[bound == NO_SIDE]
    rest = rest if len(rest) else labelled[sides[labelled] == TRAIN]
    wanted = np.array([0, val_fraction, test_fraction])
    wanted[np.unique(given[stated])] = 0  # what is given is not drawn
    if wanted.any() and len(rest):
        wanted[TRAIN] = 1 - wanted.sum()
        copied = np.arange(len(labels)) if originals is None else originals
        if group is not None:
            sides[rest] = _sides_by_group(_counts(labels[rest], group[rest], sets), wanted, seed)[_places(group[rest])]
        elif len(sets):
            counts = _counts(labels[rest], copied[rest], sets)
            held_out = np.array([_held_out(count, wanted) for count in counts.sum(axis=0).tolist()])
            order = _shuffle(len(counts), seed, "split labels")
            sides[rest] = sides_by_label(counts, held_out, wanted, order)[_places(copied[rest])]
        else:
            sides[rest] = _sides_by_class(labels[rest], copied[rest], wanted, seed)
    _keep_from_training(sides, labels == UNKNOWN, [key for key in (group, originals) if key is not None])
    if conflicts is not None:
        sides[conflicts & (sides != TRAIN)] = NO_SIDE
    return Split(*(np.flatnonzero(sides == side).astype(np.int64) for side in (TRAIN, VAL, TEST)))


def _keep_from_training(sides: np.ndarray, unlabelled: np.ndarray, keys: Sequence[np.ndarray]) -> None:
    """Take the images without a label that are held out, or share a key with one that is, from every side."""
    held_out = sides != TRAIN
    sides[unlabelled & held_out] = NO_SIDE
    for key in keys:
        sides[unlabelled & np.isin(key, key[held_out & ~unlabelled])] = NO_SIDE


def has_several(labels: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """For every image with a label whether those with the same key have several labels; bool of shape (N,)."""
    place, known = np.unique(keys, return_inverse=True)[1], labels != UNKNOWN
    lowest, highest = np.full(len(labels), labels.max(initial=0)), np.zeros(len(labels), labels.dtype)
    np.minimum.at(lowest, place[known], labels[known])
    np.maximum.at(highest, place[known], labels[known])
    return known & (lowest < highest)[place]


def draw_subset(
    labels: np.ndarray,
    train: np.ndarray,
    *,
    per_class: PerClass,
    seed: int,
    first: np.ndarray | None = None,
    sets: np.ndarray = NO_SETS,
) -> np.ndarray:
    """Draw training images of each class.

    For one seed, the images of a smaller number are contained in those of a larger one, and those of a smaller share in
    those of a larger one.

    Where images have several labels, so many are drawn that each label has at least as many as are asked for, or all
    there are: in rounds in which each label, the rarest first, draws one where it has too few yet.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
        Class of each image, ``UNKNOWN`` where it has no label. Such images are not drawn, unless nothing has a label:
        then all are of one class.
    train : ndarray of int64
        Indices to draw from.
    per_class : int or str
        A number, of which a class with fewer gives all it has; a share of each class, as
        :func:`~selfsup.config.grid.images_of` rounds it; or ``"all"``.
    seed : int
        At least 0.
    first : ndarray of bool, shape (N,), optional
        Images that are drawn before any other of their class.
    sets : ndarray of bool, shape (S, classes), optional
        As of :func:`split_images`.

    Returns
    -------
    ndarray of int64
        Sorted indices.
    """
    train = np.sort(np.asarray(train, dtype=np.int64))
    labelled = train[labels[train] != UNKNOWN]
    train = labelled if len(labelled) else train
    if per_class == "all":
        return train
    orders = []
    for label, members in _members(np.maximum(labels[train], 0), sets):
        order = members[_shuffle(len(members), seed, "subset", label)]
        orders.append(order if first is None else order[np.argsort(~first[train[order]], kind="stable")])
    sizes = [images_of(per_class, len(order)) for order in orders]
    if len(sets):
        has = sets[labels[train]]
        has = has[:, has.any(axis=0)]  # the labels that `orders` are of
        return train[drawn_in_rounds(orders, sizes, has, share=isinstance(per_class, str))]
    drawn = [order[:size] for order, size in zip(orders, sizes, strict=True)]
    return np.sort(train[np.concatenate([np.zeros(0, np.int64), *drawn])])


def _members(labels: np.ndarray, sets: np.ndarray = NO_SETS) -> list[tuple[int, np.ndarray]]:
    """Each class, or label, with the positions of its images, in order."""
    if len(sets):
        found = [(label, np.flatnonzero(having[labels])) for label, having in enumerate(sets.T)]
        return [(label, members) for label, members in found if len(members)]
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
        order = copies[order[~mixed[order]]]
        if (sizes[order] == 1).all():  # what the loop comes to where there are no copies, a hundred times as fast
            side_of[order[: room[TEST]]] = TEST
            side_of[order[room[TEST] :][: room[VAL]]] = VAL
            continue
        for copy in dict.fromkeys(order.tolist()):
            if all(taken[side] >= room[side] for side in room):
                break
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
    return wanted.get(VAL, 0), wanted.get(TEST, 0)


def _sides_stated(keys: np.ndarray, stated: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Of each image the side that those of its key are given for, of several the last; int64 of shape (N,)."""
    side_of = np.full(keys.max(initial=-1) + 1, NO_SIDE)
    np.maximum.at(side_of, keys[stated], given[stated])
    return side_of[keys]


def _refuse_straddling(groups: Sequence[str], group: np.ndarray, stated: np.ndarray, given: np.ndarray) -> None:
    pairs = np.unique(np.stack([group[stated], given[stated]]), axis=1)
    across, sides = np.unique(pairs[0], return_counts=True)
    across = across[sides > 1]
    if len(across):
        example = groups[int(np.flatnonzero(group == across[0])[0])].removeprefix(GROUP)
        raise UserError(
            f"{len(across)} of the groups (such as '{example}') have images on several sides of the given split; "
            "choose groups that lie on one side of it, or leave the groups or the split out."
        )


def _places(keys: np.ndarray) -> np.ndarray:
    """The number of each image's key among the different ones, int64 of shape (n,)."""
    return np.unique(keys, return_inverse=True)[1]


def _counts(labels: np.ndarray, keys: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """Images of each class, or with each label, that share a key; int64 of shape (keys, classes that occur)."""
    place, label = _places(keys), _places(labels)
    width = sets.shape[1] if len(sets) else label.max(initial=-1) + 1
    counts = np.zeros((place.max(initial=-1) + 1, width), np.int64)
    if len(sets):
        np.add.at(counts, place, sets[labels])
    else:
        np.add.at(counts, (place, label), 1)
    return counts


def _sides_by_group(counts: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """Whole groups to sides, so that their `counts` per class, of shape (groups, classes), come close to `shares`."""
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
    return min(candidates, key=lambda sides: _imbalance(sides, counts, targets))


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
