"""BYOL: two symmetric regressions onto a target that passes no gradient."""

from __future__ import annotations

import copy

import torch
from lightly.loss import NegativeCosineSimilarity
from torch import nn

from selfsup.methods import Method, method_class
from selfsup.testing.methods import batch_of, batch_of_digits, build


def byol() -> Method:
    """With a target that differs from the online network, as after some steps of training."""
    method = build(method_class("byol"), hidden_dim=32, output_dim=16)
    with torch.no_grad():
        for parameter in method.backbone.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return method


def test_loss_sums_two_minus_two_cosines_over_both_directions() -> None:
    method = byol()
    by_hand = copy.deepcopy(method)
    (first, second), labels = batch_of_digits(2)
    loss = method.loss(batch_of([first, second], labels)).loss
    predicted_1, predicted_2 = by_hand.predictor(by_hand.projector(by_hand.backbone(torch.cat([first, second])))).chunk(
        2
    )
    target_1, target_2 = by_hand.target.network(torch.cat([first, second])).chunk(2)
    negative_cosine = NegativeCosineSimilarity()
    expected = 2 + 2 * negative_cosine(predicted_1, target_2) + 2 + 2 * negative_cosine(predicted_2, target_1)
    torch.testing.assert_close(loss, expected)


def test_exchanging_the_views_does_not_change_the_loss() -> None:
    method = byol()
    same = copy.deepcopy(method)
    (first, second), labels = batch_of_digits(2)
    torch.testing.assert_close(
        method.loss(batch_of([first, second], labels)).loss, same.loss(batch_of([second, first], labels)).loss
    )


def test_gradient_reaches_backbone_projector_and_predictor_and_not_the_target() -> None:
    method = byol()
    method.loss(batch_of(*batch_of_digits(2))).loss.backward()
    online = [*method.backbone.parameters(), *method.projector.parameters(), *method.predictor.parameters()]
    assert all(p.grad is not None for p in online)
    assert all(p.grad is None for p in method.target.parameters())


def test_the_gradient_is_that_of_a_fixed_target() -> None:
    """Were the target's views differentiated too, the backbone would get another gradient."""
    method = byol()
    by_hand = copy.deepcopy(method)
    (first, second), labels = batch_of_digits(2)
    method.loss(batch_of([first, second], labels)).loss.backward()
    with torch.no_grad():
        targets = by_hand.target.network(torch.cat([second, first]))
    predictions = by_hand.predictor(by_hand.projector(by_hand.backbone(torch.cat([first, second]))))
    (4 - 4 * torch.cosine_similarity(predictions, targets).mean()).backward()
    for found, expected in zip(method.backbone.parameters(), by_hand.backbone.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-4, atol=1e-6)


def test_the_target_has_no_predictor() -> None:
    method = byol()
    target = method.target.network
    assert len(target) == 2
    assert [p.shape for p in target.parameters()] == [
        p.shape for p in nn.Sequential(method.backbone, method.projector).parameters()
    ]


def test_the_target_starts_as_the_online_network() -> None:
    method = build(method_class("byol"))
    online = nn.Sequential(method.backbone, method.projector).state_dict()
    assert all(torch.equal(value, online[name]) for name, value in method.target.network.state_dict().items())


def test_the_heads_are_the_papers() -> None:
    method = build(method_class("byol"), hidden_dim=40, output_dim=7)
    for head in (method.projector, method.predictor):
        assert [type(layer) for layer in head] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
        assert (head[0].out_features, head[3].out_features) == (40, 7)
        assert head[3].bias is not None
