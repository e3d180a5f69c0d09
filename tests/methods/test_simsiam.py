"""SimSiam: predictions against projections without gradient, of two views or more; a predictor that does not slow."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from torch import Tensor, nn

from selfsup.methods import Method, ParameterGroup, method_class
from selfsup.testing.methods import batch_of, batch_of_digits, build
from selfsup.training.optimizers import build_optimizer, recipe_of, set_rates

SimSiam = method_class("simsiam")


def simsiam(**settings: Any) -> Method:
    return build(SimSiam, **{"hidden_dim": 32, "output_dim": 16, "predictor_dim": 8, **settings})


def outputs(method: Method, views: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Predictions and projections by view."""
    z = method.projector(method.backbone(torch.cat(views)))
    return list(method.predictor(z).chunk(len(views))), list(z.chunk(len(views)))


def test_loss_of_two_views_is_algorithm_1() -> None:
    """D(p1, z2)/2 + D(p2, z1)/2 with D the negative cosine, which lightly has."""
    method = simsiam()
    by_hand = copy.deepcopy(method)
    views, labels = batch_of_digits(2)
    step = method.loss(batch_of(views, labels))
    (p_1, p_2), (z_1, z_2) = outputs(by_hand, views)
    distance = NegativeCosineSimilarity()
    torch.testing.assert_close(step.loss, distance(p_1, z_2) / 2 + distance(p_2, z_1) / 2, rtol=0, atol=1e-5)
    assert torch.equal(step.pair[0], z_1)
    assert torch.equal(step.pair[1], z_2)


def test_with_four_views_each_predicts_the_mean_of_the_other_three() -> None:
    """Pototzky et al. 2022, equations 3 and 4, by loops."""
    method = simsiam(views=4)
    by_hand = copy.deepcopy(method)
    views, labels = batch_of_digits(4)
    loss = method.loss(batch_of(views, labels)).loss
    predictions, projections = ([x.detach().double().numpy() for x in side] for side in outputs(by_hand, views))
    total = []
    for i, p in enumerate(predictions):
        target = np.mean([z for j, z in enumerate(projections) if j != i], axis=0)
        for row, other in zip(p, target, strict=True):
            total.append(-row @ other / np.linalg.norm(row) / np.linalg.norm(other))
    assert loss.item() == pytest.approx(np.mean(total), abs=1e-5)


@pytest.mark.parametrize("views", [2, 3])
def test_the_gradient_is_that_of_fixed_targets(views: int) -> None:
    method = simsiam(views=views)
    by_hand = copy.deepcopy(method)
    images, labels = batch_of_digits(views)
    method.loss(batch_of(images, labels)).loss.backward()
    predictions, projections = outputs(by_hand, images)
    fixed = [z.detach() for z in projections]
    losses = []
    for i, p in enumerate(predictions):
        target = torch.stack([z for j, z in enumerate(fixed) if j != i]).mean(dim=0)
        losses.append(-torch.cosine_similarity(p, target).mean() / views)
    sum(losses).backward()
    for (name, found), expected in zip(method.named_parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-3, atol=1e-6, msg=name)
    assert method.backbone.network[0].weight.grad.abs().sum() > 0


def test_the_predictors_rate_stays_where_the_others_decay() -> None:
    method = simsiam()
    optimizer = build_optimizer(method, 0.1)
    set_rates(optimizer, recipe_of(method), lr=0.001, base_lr=0.1, share=0.9)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    predictor = {id(p) for p in method.predictor.parameters()}
    assert {rates[p] for p in predictor} == {0.1}
    assert {rate for p, rate in rates.items() if p not in predictor} == {0.001}


def test_the_predictors_weights_decay_as_others_and_its_norms_do_not() -> None:
    groups: list[ParameterGroup] = simsiam().parameter_groups()
    assert [(group.decays, group.constant_lr) for group in groups] == [
        (True, False), (False, False), (True, True), (False, True),
    ]  # fmt: skip


def test_the_heads_are_the_papers_with_a_norm_without_scale_at_the_end_and_a_bottleneck() -> None:
    method = simsiam(hidden_dim=40, output_dim=12, predictor_dim=3)
    assert [type(layer) for layer in method.projector] == [
        nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.BatchNorm1d,
    ]  # fmt: skip
    assert (method.projector[1].affine, method.projector[4].affine) == (True, False)
    assert [type(layer) for layer in method.predictor] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert (method.predictor[0].out_features, method.predictor[3].out_features) == (3, 12)


def test_it_asks_for_as_many_views_as_are_set() -> None:
    assert [group.count for group in simsiam(views=4).view_groups()] == [4]
