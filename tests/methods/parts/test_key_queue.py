"""The queue of keys: first in, first out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from selfsup.methods.parts.key_queue import KeyQueue


def key(angle: float, length: float = 1.0) -> Tensor:
    """A key of two dimensions that can be told apart by its angle, in degrees."""
    radians = torch.tensor(angle).deg2rad()
    return length * torch.stack([radians.cos(), radians.sin()])


def keys(*angles: float) -> Tensor:
    return torch.stack([key(angle) for angle in angles])


def angles(queue: KeyQueue) -> list[int]:
    return [round(float(torch.rad2deg(torch.atan2(y, x)))) for x, y in queue.keys]


def test_new_keys_take_the_places_of_the_oldest_step_by_step() -> None:
    queue = KeyQueue(5, 2)
    queue.push(keys(10, 11, 12, 13, 14))
    assert angles(queue) == [10, 11, 12, 13, 14]
    queue.push(keys(20, 21))
    assert angles(queue) == [20, 21, 12, 13, 14]
    queue.push(keys(30, 31))
    assert angles(queue) == [20, 21, 30, 31, 14]
    queue.push(keys(40, 41))  # wraps around
    assert angles(queue) == [41, 21, 30, 31, 40]
    queue.push(keys(50))
    assert angles(queue) == [41, 50, 30, 31, 40]


def test_a_batch_larger_than_the_queue_leaves_its_newest_keys() -> None:
    queue = KeyQueue(3, 2)
    queue.push(keys(1))
    queue.push(keys(10, 11, 12, 13, 14))
    assert sorted(angles(queue)) == [12, 13, 14]
    queue.push(keys(20))  # and the oldest of those, 12, is the next to go
    assert sorted(angles(queue)) == [13, 14, 20]


def test_a_batch_of_the_queues_size_replaces_everything() -> None:
    queue = KeyQueue(3, 2)
    queue.push(keys(1, 2))
    queue.push(keys(10, 11, 12))
    assert sorted(angles(queue)) == [10, 11, 12]


def test_the_queue_matches_a_list_over_many_uneven_batches() -> None:
    queue, kept = KeyQueue(7, 2), list[int]()
    for start, size in ((0, 3), (3, 7), (10, 1), (11, 5), (16, 11), (27, 2)):
        batch = list(range(start, start + size))
        queue.push(keys(*batch))
        kept = (kept + batch)[-7:]
        if len(kept) == 7:
            assert sorted(angles(queue)) == kept


def test_keys_are_kept_at_unit_length_and_without_gradient() -> None:
    queue = KeyQueue(4, 2)
    assert torch.allclose(queue.keys.norm(dim=1), torch.ones(4))
    queue.push((key(30, length=9.0)[None]).requires_grad_())
    assert torch.allclose(queue.keys[0], key(30))
    assert not queue.keys.requires_grad


def test_half_precision_keys_are_kept_in_float32() -> None:
    queue = KeyQueue(2, 8)
    half = torch.randn(2, 8).bfloat16()
    queue.push(half)
    assert queue.keys.dtype == torch.float32
    torch.testing.assert_close(queue.keys, F.normalize(half.float(), dim=1))


def test_contents_and_position_are_part_of_the_state() -> None:
    queue, restored = KeyQueue(4, 2), KeyQueue(4, 2)
    queue.push(keys(10, 11, 12))
    restored.load_state_dict(queue.state_dict())
    for each in (queue, restored):
        each.push(keys(20, 21))
    assert angles(restored) == angles(queue)
    assert angles(queue)[1:] == [11, 12, 20]
