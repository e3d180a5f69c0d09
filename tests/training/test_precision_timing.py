"""A few steps in each precision, which leave the network as it was."""

from __future__ import annotations

import pytest
import torch

from selfsup.testing.backbones import tiny_backbone
from selfsup.training import precision_timing
from selfsup.training.precision_timing import fastest, time_precisions


def test_every_precision_is_timed_and_the_network_stays_as_it_was() -> None:
    backbone = tiny_backbone().eval()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    rates = time_precisions(backbone, ("bf16", "fp32"), side=16, images=4)
    assert list(rates) == ["bf16", "fp32"]
    assert min(rates.values()) > 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_a_busy_moment_slows_all_precisions_and_not_the_first_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = iter(range(100))

    def step(network: object, batch: object, precision: str) -> float:
        busy = next(begun) < 4  # other work, which lasts for two rounds
        return (4.0 if busy else 1.0) * {"bf16": 2.0, "fp32": 1.0}[precision]

    monkeypatch.setattr(precision_timing, "_step", step)
    assert time_precisions(tiny_backbone(), ("bf16", "fp32"), side=16, images=8) == {"bf16": 4.0, "fp32": 8.0}


@pytest.mark.parametrize(("ahead", "rounds"), [(1.6, 2), (1.4, 4), (0.6, 4)])
def test_no_more_is_timed_once_the_first_is_far_ahead(
    monkeypatch: pytest.MonkeyPatch, ahead: float, rounds: int
) -> None:
    """A round is to warm up, and three are timed where one does not do; a first that loses may have had other work."""
    asked: list[str] = []

    def step(network: object, batch: object, precision: str) -> float:
        asked.append(precision)
        return ahead if precision == "fp32" else 1.0

    monkeypatch.setattr(precision_timing, "_step", step)
    time_precisions(tiny_backbone(), ("bf16", "fp32"), side=16, images=8)
    assert asked == ["bf16", "fp32"] * rounds


def test_of_two_that_timing_cannot_tell_apart_the_first_is_taken() -> None:
    assert fastest({"bf16": 100.0, "fp32": 109.0}) == "bf16"
    assert fastest({"bf16": 100.0, "fp32": 111.0}) == "fp32"
