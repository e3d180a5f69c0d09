"""MoCo v3: two symmetric contrasts with keys of a momentum encoder; a patch embedding that stays as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from selfsup.methods import Method, Progress, method_class
from selfsup.testing.methods import batch_of, batch_of_digits, build
from selfsup.training.optimizers import build_optimizer

MoCoV3 = method_class("moco-v3")


def moco_v3(**settings: Any) -> Method:
    """With a momentum encoder that differs from the online network, as after some steps of training."""
    method = build(MoCoV3, **{"hidden_dim": 32, "output_dim": 16, **settings})
    with torch.no_grad():
        for parameter in method.backbone.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return method


@pytest.mark.parametrize("transformer", [False, True])
def test_loss_sums_both_directions_of_algorithm_1(transformer: bool) -> None:
    method = moco_v3(temperature=0.3, transformer=transformer)
    by_hand = copy.deepcopy(method)
    (first, second), labels = batch_of_digits(2)
    step = method.loss(batch_of([first, second], labels))
    queries = F.normalize(by_hand.predictor(by_hand.projector(by_hand.backbone(torch.cat([first, second])))), dim=1)
    keys = F.normalize(by_hand.momentum_encoder.network(torch.cat([first, second])), dim=1)
    (q_1, q_2), (k_1, k_2) = queries.chunk(2), keys.chunk(2)
    expected = 0.0
    for q, k in ((q_1, k_2), (q_2, k_1)):
        shares = ((q @ k.T) / 0.3).exp()
        expected += 2 * 0.3 * -(shares.diagonal() / shares.sum(dim=1)).log().mean()
    torch.testing.assert_close(step.loss, expected, rtol=1e-5, atol=1e-5)


def test_the_gradient_is_that_of_fixed_keys_and_reaches_the_online_network_alone() -> None:
    method = moco_v3()
    by_hand = copy.deepcopy(method)
    (first, second), labels = batch_of_digits(2)
    method.loss(batch_of([first, second], labels)).loss.backward()
    with torch.no_grad():
        keys = F.normalize(by_hand.momentum_encoder.network(torch.cat([first, second])), dim=1).roll(len(first), 0)
    queries = F.normalize(by_hand.predictor(by_hand.projector(by_hand.backbone(torch.cat([first, second])))), dim=1)
    loss = torch.zeros(())
    for q, k in zip(queries.chunk(2), keys.chunk(2), strict=True):
        loss = loss + 2 * 0.2 * F.cross_entropy(q @ k.T / 0.2, torch.arange(len(q)))
    loss.backward()
    for (name, found), expected in zip(method.named_parameters(), by_hand.parameters(), strict=True):
        if name.startswith("momentum_encoder."):
            assert found.grad is None
        else:
            torch.testing.assert_close(found.grad, expected.grad, rtol=1e-3, atol=1e-6, msg=name)


def test_exchanging_the_views_does_not_change_the_loss() -> None:
    method = moco_v3()
    same = copy.deepcopy(method)
    (first, second), labels = batch_of_digits(2)
    torch.testing.assert_close(
        method.loss(batch_of([first, second], labels)).loss, same.loss(batch_of([second, first], labels)).loss
    )


@pytest.mark.parametrize(("steps", "start"), [(20_000, 0.99), (1_000, 0.99), (200, 0.95), (40, 0.75), (8, 0.0)])
def test_the_momentum_starts_at_the_papers_or_looks_back_over_a_tenth_of_the_training(steps: int, start: float) -> None:
    method = moco_v3()
    assert method.momentum(Progress(0, steps, 10)) == pytest.approx(start)
    assert method.momentum(Progress(steps // 2, steps, 10)) == pytest.approx((1 + start) / 2)  # the cosine is 0
    assert method.momentum(Progress(steps, steps, 10)) == 1


def test_a_momentum_that_is_set_is_where_it_starts() -> None:
    assert moco_v3(momentum=0.5).momentum(Progress(0, 40, 10)) == 0.5


def test_after_a_step_the_momentum_encoder_has_moved_by_the_papers_rule() -> None:
    method = moco_v3(momentum=0.75)
    online = nn.Sequential(method.backbone, method.projector)
    before = [p.clone() for p in method.momentum_encoder.parameters()]
    method.after_step(Progress(50, 100, 10))
    for old, new, target in zip(before, method.momentum_encoder.parameters(), online.parameters(), strict=True):
        torch.testing.assert_close(new, 0.875 * old + 0.125 * target)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_transformers_patch_embedding_keeps_its_weights_if_asked_to(frozen: bool) -> None:
    method = moco_v3(transformer=True, frozen_patch_embedding=frozen)
    before = copy.deepcopy(method.backbone.state_dict())
    optimizer, progress = build_optimizer(method, 0.01), Progress(0, 100, 10)
    method.loss(batch_of(*batch_of_digits(2))).loss.backward()
    method.after_backward(progress)
    optimizer.step()
    after = method.backbone.state_dict()
    kept = {name for name, value in before.items() if torch.equal(value, after[name])}
    patch_embedding = {name for name in before if ".patch_embed." in name}
    assert len(patch_embedding) == 2
    assert kept == (patch_embedding if frozen else set())
    assert all(parameter.requires_grad for parameter in method.backbone.parameters())  # for who trains it next


@pytest.mark.parametrize(("transformer", "layers"), [(False, 2), (True, 3)])
def test_the_heads_are_the_papers(transformer: bool, layers: int) -> None:
    method = moco_v3(hidden_dim=40, output_dim=7, transformer=transformer)
    block = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert [type(layer) for layer in method.projector] == [*block * (layers - 1), nn.Linear, nn.BatchNorm1d]
    assert not method.projector[-1].affine
    last = [nn.Linear, nn.BatchNorm1d] if transformer else [nn.Linear]
    assert [type(layer) for layer in method.predictor] == [*block, *last]
    assert len(method.momentum_encoder.network) == 2  # without the predictor
