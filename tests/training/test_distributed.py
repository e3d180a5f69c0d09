"""Rows over several processes: nothing is lost, nothing counts twice, and statistics are those of the whole batch."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest
import torch
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from selfsup.testing.devices import in_processes
from selfsup.training import processes
from selfsup.training.device import Hardware
from selfsup.training.distributed import Shards, SynchronisedNorms

Gathered = tuple[Tensor, Tensor, bool]
Seen = list[tuple[list[dict[str, Tensor]], Gathered]]


class OneOf:
    """What `Shards` asks of a Fabric."""

    def __init__(self, rank: int, count: int) -> None:
        self.global_rank, self.world_size = rank, count


@pytest.mark.parametrize(("images", "count"), [(7, 1), (7, 2), (8, 3), (9, 4), (2, 2)])
def test_every_row_is_in_one_share_and_shares_differ_by_one_at_most(images: int, count: int) -> None:
    shares = [list(range(images))[Shards(OneOf(rank, count)).rows(images)] for rank in range(count)]
    assert [row for share in shares for row in share] == list(range(images))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def normalised(norm: nn.Module, x: Tensor, target: Tensor, shards: Shards) -> dict[str, Tensor]:
    rows = shards.rows(len(x))
    mine = x[rows].clone().requires_grad_()
    y = norm(mine)
    (y * target[rows]).sum().backward()
    assert mine.grad is not None
    return {
        "output": shards.gather(y.detach(), len(x)),
        "gradient": shards.gather(mine.grad, len(x)),
        **{name: p.grad for name, p in norm.named_parameters() if p.grad is not None},
        **dict(norm.named_buffers()),
    }


def norms() -> list[tuple[nn.Module, Tensor]]:
    torch.manual_seed(0)
    flat, square = 3 + 2 * torch.randn(7, 5), 3 + 2 * torch.randn(7, 5, 4, 3)
    kinds = [nn.BatchNorm1d(5), nn.BatchNorm2d(5), BatchNormAct2d(5), nn.BatchNorm2d(5, affine=False)]
    for norm in kinds[:3]:
        nn.init.normal_(norm.weight)  # type: ignore[arg-type]
    return [(norm, flat if isinstance(norm, nn.BatchNorm1d) else square) for norm in kinds]


def observe_norms(fabric: Any) -> list[dict[str, Tensor]]:
    found = []
    for norm, x in norms():
        with SynchronisedNorms():
            seen = normalised(norm, x, x.roll(1, 0), Shards(fabric))
        for name, _ in norm.named_parameters():
            torch.distributed.all_reduce(seen[name])
        found.append(seen)
    return found


def gathered(fabric: Any) -> Gathered:
    shards = Shards(fabric)
    x = torch.arange(10.0).view(5, 2)
    mine = x[shards.rows(5)].clone().requires_grad_()
    whole = shards.gather(mine, 5)
    whole.square().sum().backward()
    assert mine.grad is not None
    return whole.detach(), mine.grad, shards.agree(shards.rank == 0)


def observe(fabric: Any) -> tuple[list[dict[str, Tensor]], Gathered]:
    return observe_norms(fabric), gathered(fabric)


@pytest.fixture(scope="module")
def seen() -> Seen:
    """What each of two processes sees, which take seconds to start."""
    return in_processes(observe, 2)


def test_synchronised_norms_are_those_of_the_whole_batch(seen: Seen) -> None:
    alone = Shards(OneOf(0, 1))
    expected = [normalised(copy.deepcopy(norm), x, x.roll(1, 0), alone) for norm, x in norms()]
    for found, _ in seen:
        for one, many in zip(expected, found, strict=True):
            assert one.keys() == many.keys()
            for name, value in one.items():
                torch.testing.assert_close(many[name], value, rtol=1e-5, atol=1e-5)


def test_gathered_rows_are_in_order_and_their_gradient_is_one_that_averaging_makes_right(seen: Seen) -> None:
    x = torch.arange(10.0).view(5, 2)
    for rank, (_, (whole, gradient, agreed)) in enumerate(seen):
        assert torch.equal(whole, x)
        assert torch.equal(gradient / 2, (2 * x)[Shards(OneOf(rank, 2)).rows(5)])
        assert agreed


def decide_late(fabric: Any, port: int) -> bool:
    """What the first process decides, which takes longer than processes wait for each other."""
    torch.distributed.destroy_process_group()
    processes.PATIENCE = 3
    joined = processes.joined_fabric(Hardware("cpu", "fp32"), fabric.global_rank, 2, port)
    if joined.global_rank == 0:
        time.sleep(5)
    return Shards(joined).agree(joined.global_rank == 0)


def test_what_the_first_process_decides_is_waited_for_however_long_it_judges() -> None:
    assert in_processes(decide_late, 2, find_free_network_port()) == [True, True]
