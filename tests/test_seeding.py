"""Seeds are functions of what they are for and where they stand."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from selfsup.seeding import derive_seed

SEEDS = st.integers(0, 2**31)
STREAMS = st.sampled_from(["order", "views", "weights", "network", "limit"])


@given(SEEDS, STREAMS, st.lists(st.integers(0, 2**31), max_size=2))
def test_the_same_position_gives_the_same_seed_in_torchs_range(seed: int, stream: str, position: list[int]) -> None:
    value = derive_seed(seed, stream, *position)
    assert value == derive_seed(seed, stream, *position)
    assert type(value) is int
    assert 0 <= value < 2**63


def test_another_process_derives_the_same_seed() -> None:
    """Unlike hash(), which Python salts in every process."""
    code = "from selfsup.seeding import derive_seed; print(derive_seed(3, 'views', 17))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(output) == derive_seed(3, "views", 17)


def test_no_two_of_many_seeds_streams_and_steps_share_a_seed() -> None:
    streams = ("order", "views", "weights", "network")
    seeds = [derive_seed(s, stream, step) for s in range(8) for stream in streams for step in range(200)]
    assert len(set(seeds)) == len(seeds)


def test_neighbouring_steps_give_unrelated_bits() -> None:
    """The share of bits in which neighbours differ is that of coin tosses."""
    seeds = np.array([derive_seed(0, "views", step) for step in range(500)], np.uint64)
    differing = [int(a ^ b).bit_count() for a, b in pairwise(seeds)]
    assert abs(np.mean(differing) / 63 - 0.5) < 0.02
