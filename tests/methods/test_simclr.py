"""SimCLR: what it feeds to NT-Xent, and the head in between."""

from __future__ import annotations

import copy

import torch
from torch import nn

from selfsup.methods import method_class
from selfsup.methods.parts.contrast import nt_xent
from selfsup.testing.methods import BATCH, batch_of, batch_of_digits, build


def test_loss_is_nt_xent_of_the_projections_of_both_views_in_one_batch() -> None:
    method = build(method_class("simclr"), temperature=0.3)
    by_hand = copy.deepcopy(method)
    views, labels = batch_of_digits(2)
    step = method.loss(batch_of(views, labels))
    embedding = by_hand.backbone(torch.cat(views))
    assert torch.equal(step.embedding, embedding)
    assert step.loss.item() == nt_xent(by_hand.projector(embedding), 0.3).item()


def test_exchanging_the_views_does_not_change_the_loss() -> None:
    method, same = build(method_class("simclr")), build(method_class("simclr"))
    (first, second), labels = batch_of_digits(2)
    torch.testing.assert_close(
        method.loss(batch_of([first, second], labels)).loss, same.loss(batch_of([second, first], labels)).loss
    )


def test_identical_views_are_easier_than_views_of_other_images() -> None:
    method = build(method_class("simclr"))
    (first, second), labels = batch_of_digits(2)
    same = method.loss(batch_of([first, first], labels)).loss
    other = method.loss(batch_of([first, second.roll(BATCH // 2, dims=0)], labels)).loss
    assert same < other


def test_the_head_is_the_papers_mlp_with_batch_norm_after_both_layers() -> None:
    head = build(method_class("simclr"), hidden_dim=40, output_dim=7).projector
    assert [type(layer) for layer in head] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.BatchNorm1d]
    assert (head[0].out_features, head[3].out_features) == (40, 7)
    assert head[0].bias is None
    assert head[3].bias is None
