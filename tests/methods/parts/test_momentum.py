"""The momentum encoder follows its network as the papers' equations say."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from selfsup.methods import Method, Progress, method_class
from selfsup.methods.parts.momentum import MomentumEncoder, cosine_momentum
from selfsup.testing.methods import batch_of, batch_of_digits, build


def line(weight: float, bias: float) -> nn.Linear:
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(weight)
        layer.bias.fill_(bias)
    return layer


def test_three_updates_give_the_values_worked_out_by_hand() -> None:
    """Copy c, network n, momentum 0.75: c <- 0.75 c + 0.25 n."""
    encoder = MomentumEncoder(line(0.0, 8.0))
    seen = []
    for weight, bias in ((4.0, 0.0), (8.0, 0.0), (-3.0, 4.0)):
        encoder.update(line(weight, bias), 0.75)
        seen.append((encoder.network.weight.item(), encoder.network.bias.item()))
    # weights: 0.25*4 = 1; 0.75*1 + 0.25*8 = 2.75; 0.75*2.75 - 0.25*3 = 1.3125
    # biases:  0.75*8 = 6; 0.75*6 = 4.5;           0.75*4.5 + 0.25*4 = 4.375
    assert seen == [(1.0, 6.0), (2.75, 4.5), (1.3125, 4.375)]


@pytest.mark.parametrize(("momentum", "expected"), [(1.0, 5.0), (0.0, 9.0)])
def test_momentum_one_stands_still_and_zero_copies(momentum: float, expected: float) -> None:
    encoder = MomentumEncoder(line(5.0, 0.0))
    encoder.update(line(9.0, 0.0), momentum)
    assert encoder.network.weight.item() == expected


def test_the_copy_shares_no_memory_with_its_network() -> None:
    network = line(1.0, 1.0)
    encoder = MomentumEncoder(network)
    with torch.no_grad():
        network.weight.fill_(7.0)
    assert encoder.network.weight.item() == 1.0


def test_the_copy_takes_no_gradient_and_passes_none_on() -> None:
    encoder = MomentumEncoder(line(1.0, 1.0))
    images = torch.ones(3, 1, requires_grad=True)
    assert not encoder(images).requires_grad
    assert not any(p.requires_grad for p in encoder.parameters())


def test_an_update_moves_parameters_and_leaves_running_statistics_alone() -> None:
    online = nn.BatchNorm1d(2)
    encoder = MomentumEncoder(online)
    with torch.no_grad():
        online.weight.fill_(3.0)
        online.running_mean.fill_(100.0)
    encoder.update(online, 0.5)
    assert encoder.network.weight.tolist() == [2.0, 2.0]
    assert encoder.network.running_mean.tolist() == [0.0, 0.0]


def test_cosine_momentum_rises_from_its_base_to_exactly_one() -> None:
    values = [cosine_momentum(0.9, k / 10) for k in range(11)]
    assert values[0] == pytest.approx(0.9)
    assert values[5] == pytest.approx(0.95)  # half-way, the cosine is 0
    assert values[-1] == 1.0
    assert values == sorted(values)


def test_cosine_momentum_is_the_papers_formula() -> None:
    """Grill et al. 2020, section 3.3: 1 - (1 - base)(cos(pi k / K) + 1) / 2."""
    for k in range(8):
        expected = 1 - (1 - 0.996) * (math.cos(math.pi * k / 7) + 1) / 2
        assert cosine_momentum(0.996, k / 7) == pytest.approx(expected, rel=1e-12)


# -- as the methods use it ---------------------------------------------------------------------------


def follower_of(method: Method) -> MomentumEncoder:
    (encoder,) = (module for module in method.modules() if isinstance(module, MomentumEncoder))
    return encoder


def moved(name: str, progress: float, **settings: object) -> float:
    """Share of the way to the online network that one after_step goes: 1 - momentum."""
    method = build(method_class(name), **settings)
    with torch.no_grad():
        for parameter in [*method.backbone.parameters(), *method.projector.parameters()]:
            parameter.add_(1.0)
    before = [p.clone() for p in follower_of(method).parameters()]
    method.after_step(Progress(round(100 * progress), 100, 10))
    steps = torch.cat([(p - b).flatten() for p, b in zip(follower_of(method).parameters(), before, strict=True)])
    assert steps.max() - steps.min() < 1e-5  # every parameter of backbone and projector, by the same share
    return float(steps.mean())


@pytest.mark.parametrize("progress", [0.01, 0.5, 1.0])
def test_moco_keeps_one_momentum_throughout(progress: float) -> None:
    assert moved("moco", progress, momentum=0.75) == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize("progress", [0.01, 0.5, 1.0])
def test_byol_can_keep_one_momentum_throughout(progress: float) -> None:
    assert moved("byol", progress, momentum=0.75, momentum_schedule="constant") == pytest.approx(0.25, abs=1e-6)


def test_byols_momentum_rises_until_the_target_stands_still() -> None:
    shares = [moved("byol", progress, momentum=0.75) for progress in (0.25, 0.5, 1.0)]
    quarter = 0.25 * (math.cos(math.pi / 4) + 1) / 2
    assert shares == pytest.approx([quarter, 0.125, 0.0], abs=1e-6)


@pytest.mark.parametrize("name", ["moco", "moco-v3", "byol"])
def test_the_target_sees_batch_statistics_of_its_own(name: str) -> None:
    """Its running statistics move when it sees a batch, and not by the update."""
    method = build(method_class(name))
    views, labels = batch_of_digits(2)
    encoder = follower_of(method)
    norm = next(m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d))
    method.loss(batch_of(views, labels))
    after_loss = norm.running_mean.clone()
    assert after_loss.abs().max() > 0
    method.after_step(Progress(50, 100, 10))
    assert torch.equal(norm.running_mean, after_loss)
