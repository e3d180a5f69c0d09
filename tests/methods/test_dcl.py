"""DCL: SimCLR in all but the loss. tests/methods/parts/test_contrast.py has the formula."""

from __future__ import annotations

import copy

import torch
from lightly.loss import DCLLoss

from selfsup.methods import method_class, read_settings
from selfsup.testing.methods import batch_of, batch_of_digits, build
from selfsup.training.optimizers import recipe_of

DCL = method_class("dcl")


def test_loss_is_lightlys_of_the_projections_of_both_views_in_one_batch() -> None:
    method = build(DCL, temperature=0.3)
    by_hand = copy.deepcopy(method)
    views, labels = batch_of_digits(2)
    step = method.loss(batch_of(views, labels))
    first, second = by_hand.projector(by_hand.backbone(torch.cat(views))).chunk(2)
    torch.testing.assert_close(step.loss, DCLLoss(temperature=0.3)(first, second), rtol=0, atol=1e-5)
    assert torch.equal(step.pair[0], first)
    assert torch.equal(step.pair[1], second)


def test_all_but_the_loss_is_simclrs() -> None:
    ours, theirs = build(DCL), build(method_class("simclr"))
    assert read_settings("dcl", {}) == read_settings("simclr", {})
    assert recipe_of(ours) == recipe_of(theirs)
    assert ours.view_groups() == theirs.view_groups()
    assert str(ours.projector) == str(theirs.projector)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    views, labels = batch_of_digits(2)
    assert ours.loss(batch_of(views, labels)).loss != theirs.loss(batch_of(views, labels)).loss
