"""VICReg: its three terms and their weights. tests/methods/parts/test_correlation.py has the formulas."""

from __future__ import annotations

import copy

import pytest
import torch
from lightly.loss import VICRegLoss
from torch import nn

from selfsup.methods import method_class
from selfsup.testing.methods import batch_of, batch_of_digits, build

VICReg = method_class("vicreg")
SMALL = {"hidden_dim": 32, "output_dim": 16}


def test_loss_is_lightlys_of_the_expanded_views() -> None:
    method = build(VICReg, **SMALL, invariance=3.0, variance=5.0, covariance=0.7)
    by_hand = copy.deepcopy(method)
    views, labels = batch_of_digits(2)
    step = method.loss(batch_of(views, labels))
    first, second = by_hand.expander(by_hand.backbone(torch.cat(views))).chunk(2)
    expected = VICRegLoss(lambda_param=3.0, mu_param=5.0, nu_param=0.7)(first, second)
    torch.testing.assert_close(step.loss, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(step.pair[0], first)


def test_the_log_has_the_terms_that_the_loss_is_the_weighted_sum_of() -> None:
    step = build(VICReg, **SMALL).loss(batch_of(*batch_of_digits(2)))
    terms = {name: value.item() for name, value in step.scalars.items()}
    assert step.loss.item() == pytest.approx(
        25 * terms["invariance"] + 25 * terms["variance"] + terms["covariance"], rel=1e-5
    )
    assert not any(value.requires_grad for value in step.scalars.values())


def test_each_term_can_be_left_out() -> None:
    batch = batch_of(*batch_of_digits(2))
    terms = build(VICReg, **SMALL).loss(batch).scalars
    alone = build(VICReg, **SMALL, invariance=0, variance=0, covariance=1).loss(batch).loss
    assert alone.item() == pytest.approx(terms["covariance"].item(), rel=1e-6)


def test_the_expander_is_the_papers_three_layers() -> None:
    expander = build(VICReg, hidden_dim=40, output_dim=7).expander
    block = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert [type(layer) for layer in expander] == [*block, *block, nn.Linear]
    assert [layer.out_features for layer in expander if isinstance(layer, nn.Linear)] == [40, 40, 7]
