"""Recording the backbones' calls: which, once each, and that it changes nothing. tests/contract/test_gpu.py replays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.small_heads import SMALL_HEADS
from torch import Tensor, nn

from selfsup.methods import Method, method_class, method_names
from selfsup.methods.parts.momentum import MomentumEncoder
from selfsup.testing.digit_batches import SIDE, batch_of_digits
from selfsup.testing.methods import build
from selfsup.training.batches import Loading
from selfsup.training.device import Hardware
from selfsup.training.loop import Training
from selfsup.training.plan import TrainingPlan
from selfsup.views import load_policy


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the calls recorded, by a CUDA that does as it does while recording: try each call some times first."""
    names = []

    def record(call: nn.Module, arguments: tuple[Tensor, ...], **options: Any) -> Callable[..., Any]:
        assert not torch.is_autocast_cache_enabled()
        for _ in range(3):
            call(*arguments)
        torch.rand(7)
        names.append(call.name)
        return call

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", record)
    return names


class Digits:
    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        (view,), _ = batch_of_digits(1, size=64)
        return (view[indices] * 255).byte(), torch.full((len(indices), 2), SIDE)


def trained(name: str, graphs: bool, images: int = 48) -> Method:
    method = build(method_class(name), **SMALL_HEADS.get(name, {}))
    plan = TrainingPlan(epochs=2, batch_size=16, image_size=SIDE, lr=0.05, seed=0)
    labels, fabric = np.arange(images) % 10, Hardware("cpu", "bf16").fabric()
    policy, ahead = load_policy("simclr"), Loading(ahead=True)
    Training(method, Digits(), np.arange(images), labels, policy, plan, fabric, None, ahead, graphs).run()
    return method


@pytest.mark.parametrize("name", [name for name in method_names() if method_class(name).tags.trains])
def test_every_call_of_a_step_is_recorded_once_and_no_digit_changes(name: str, recorded: list[str]) -> None:
    expected, found = trained(name, graphs=False), trained(name, graphs=True)
    # One for all views of a size, and one for those that a momentum encoder sees.
    momentum_encoders = sum(isinstance(module, MomentumEncoder) for module in found.modules())
    call = "tokens" if found.tags.needs_tokens else "forward"
    assert recorded == [call] * (len(found.view_groups()) + momentum_encoders)
    for key, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[key], value), key


def test_batches_of_two_sizes_are_recorded_apart(recorded: list[str]) -> None:
    trained("simclr", graphs=True, images=41)  # in batches of 14, 14 and 13
    assert len(recorded) == 2


def test_beyond_the_most_graphs_calls_are_made_as_they_were(
    recorded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selfsup.training.graphs.MOST_GRAPHS", 1)
    expected, found = trained("dino", graphs=False), trained("dino", graphs=True)
    assert len(recorded) == 1
    assert all(torch.equal(a, b) for a, b in zip(expected.parameters(), found.parameters(), strict=True))
