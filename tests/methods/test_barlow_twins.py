"""Barlow Twins: what it correlates, and the head. tests/methods/parts/test_correlation.py has the formula."""

from __future__ import annotations

import copy

import torch
from lightly.loss import BarlowTwinsLoss
from torch import nn

from selfsup.methods import method_class
from selfsup.testing.methods import batch_of, batch_of_digits, build

BarlowTwins = method_class("barlow-twins")
SMALL = {"hidden_dim": 32, "output_dim": 16}


def test_loss_is_lightlys_of_the_projections_of_the_two_views_over_their_width() -> None:
    method = build(BarlowTwins, **SMALL, redundancy=0.02)
    by_hand = copy.deepcopy(method)
    views, labels = batch_of_digits(2)
    step = method.loss(batch_of(views, labels))
    first, second = by_hand.projector(by_hand.backbone(torch.cat(views))).chunk(2)
    expected = BarlowTwinsLoss(lambda_param=0.02)(first, second) / 16
    torch.testing.assert_close(step.loss, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(step.pair[0], first)
    assert torch.equal(step.pair[1], second)


def test_both_views_get_a_gradient() -> None:
    """It has no stop-gradient: the loss of the exchanged views is the same, and so is its gradient."""
    (first, second), labels = batch_of_digits(2)
    gradients = []
    for views in ([first, second], [second, first]):
        method = build(BarlowTwins, **SMALL)
        method.loss(batch_of(views, labels)).loss.backward()
        gradients.append([parameter.grad for parameter in method.parameters()])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_the_head_is_the_papers_three_layers() -> None:
    head = build(BarlowTwins, hidden_dim=40, output_dim=7).projector
    block = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert [type(layer) for layer in head] == [*block, *block, nn.Linear]
    assert [layer.out_features for layer in head if isinstance(layer, nn.Linear)] == [40, 40, 7]
