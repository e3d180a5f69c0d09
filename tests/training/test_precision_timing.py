"""A few steps in each precision, which leave the network as it was."""

from __future__ import annotations

import torch

from selfsup.testing.backbones import tiny_backbone
from selfsup.training.precision_timing import fastest, time_precisions


def test_every_precision_is_timed_and_the_network_stays_as_it_was() -> None:
    backbone = tiny_backbone().eval()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    rates = time_precisions(backbone, ("bf16", "fp32"), side=16, images=4)
    assert list(rates) == ["bf16", "fp32"]
    assert min(rates.values()) > 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_of_two_that_timing_cannot_tell_apart_the_first_is_taken() -> None:
    assert fastest({"bf16": 100.0, "fp32": 109.0}) == "bf16"
    assert fastest({"bf16": 100.0, "fp32": 111.0}) == "fp32"
