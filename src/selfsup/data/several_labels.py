"""Sides and subsets of images that have several labels each, so that every label has its share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from selfsup.data.items import NO_SIDE


def sides_by_label(counts: np.ndarray, held_out: np.ndarray, shares: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011) of units: images, or copies of one.

    The label with the fewest images left is next: each of its units goes to the side that still wants most of that
    label, of equal ones to that which wants most units.

    Parameters
    ----------
    counts : ndarray of int64, shape (units, labels)
        How many images of a unit have each label, at least one of them.
    held_out : ndarray of int64, shape (labels, 2)
        Images that validation and test want of each label; train wants the others.
    shares : ndarray of float, shape (3,)
        Of train, validation and test; a side of none gets none.
    order : ndarray of int64, shape (units,)
        In which units of one label are handed out.

    Returns
    -------
    ndarray of int64, shape (units,)
        Places in ``SIDES``.
    """
    left = counts.sum(axis=0)
    wanted = np.stack([left - held_out.sum(axis=1), *held_out.T])
    room = shares * len(counts)
    sides = np.flatnonzero(shares > 0).tolist()
    side_of = np.full(len(counts), NO_SIDE)
    while left.any():
        label = int(np.where(left > 0, left, left.max() + 1).argmin())
        for unit in order[(side_of[order] == NO_SIDE) & (counts[order, label] > 0)].tolist():
            side = max(sides, key=lambda side: (wanted[side, label], room[side]))
            side_of[unit] = side
            wanted[side] -= counts[unit]
            room[side] -= 1
            left -= counts[unit]
    return side_of


def drawn_in_rounds(orders: Sequence[np.ndarray], sizes: Sequence[int], has: np.ndarray, *, share: bool) -> np.ndarray:
    """Images of which so many have each label, or a few more: in rounds, the rarest label first.

    In the k-th round every label that has fewer than k images yet draws one. So the images of smaller numbers are
    among those of larger ones, whatever labels come together.

    Parameters
    ----------
    orders : sequence of ndarray of int64
        Of each label the places of its images in `has`, in the order in which they are drawn.
    sizes : sequence of int
        How many it is to have, at most all.
    has : ndarray of bool, shape (n, labels)
        Which of the labels each image has.
    share : bool
        Whether the sizes are one share of each label: its k-th image is then due when the share comes to it.

    Returns
    -------
    ndarray of int64
        Places, ascending.
    """
    due = [
        ((0 if k == 1 else (k - 0.5) / len(order)) if share else k, len(order), label, k)
        for label, (size, order) in enumerate(zip(sizes, orders, strict=True))
        for k in range(1, size + 1)
    ]
    have, drawn = np.zeros(has.shape[1], np.int64), np.zeros(len(has), bool)
    ahead = [iter(order.tolist()) for order in orders]
    for _, _, label, k in sorted(due):
        if have[label] < k:
            image = next(image for image in ahead[label] if not drawn[image])
            drawn[image] = True
            have += has[image]
    return np.flatnonzero(drawn)
