"""Randomness as a function of position: every draw is seeded by what it is for and where it stands.

A generator whose state is carried along must be saved and restored; one that is derived from
(seed, stream, epoch, step) needs no saving, cannot be forgotten in a checkpoint, and gives the
same views to two cells that differ only in method or learning rate.
"""

from __future__ import annotations

import zlib

import numpy as np


def derive_seed(seed: int, stream: str, *position: int) -> int:
    """Seed of one stream of random numbers at one position.

    Parameters
    ----------
    seed : int
        The cell's seed, at least 0.
    stream : str
        What the numbers are for: ``"order"``, ``"views"``, ``"weights"``, …
    *position : int
        Where in the training: epoch, step.

    Returns
    -------
    int
        In [0, 2**63).
    """
    entropy = [seed, zlib.crc32(stream.encode()), *position]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))
