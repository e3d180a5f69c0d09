"""DINO, step by step against a computation in NumPy, from the paper's algorithm 1 and equations 2 to 4."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from lightly.loss import DINOLoss
from torch import nn

from selfsup.backbones import Backbone
from selfsup.methods import Method, Progress, method_class
from selfsup.methods.parts.losses import sharpened, view_cross_entropy
from selfsup.testing.digit_batches import BATCH
from selfsup.testing.methods import batch_for, build
from selfsup.training.optimizers import build_optimizer, recipe_of

DINO = method_class("dino")
SMALL = {"hidden_dim": 16, "bottleneck_dim": 8, "prototypes": 12}


def dino(**settings: object) -> Method:
    """With a teacher that differs from the student, and a centre that is not zero, as after some steps."""
    method = build(DINO, **{**SMALL, **settings})
    with torch.no_grad():
        for parameter in method.backbone.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        method.center.copy_(torch.linspace(-0.2, 0.2, len(method.center)))
    return method


def softmax(x: np.ndarray) -> np.ndarray:
    exp = np.exp(x - x.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def outputs(network: nn.Module, views: list[torch.Tensor]) -> list[np.ndarray]:
    """Outputs for views of one side, in one pass, so that batch normalisation sees them together."""
    with torch.no_grad():
        found: torch.Tensor = network(torch.cat(views))
    return [part.double().numpy() for part in found.chunk(len(views))]


def by_hand(method: Method, temperature: float, teacher_temperature: float) -> tuple[float, np.ndarray]:
    """The loss and the next centre."""
    batch = batch_for(method)
    large, small = batch.views["global"], batch.views["local"]
    student = nn.Sequential(method.backbone, method.head)
    students = outputs(student, large) + outputs(student, small)
    teachers = outputs(method.teacher.network, large)
    center = method.center.double().numpy().copy()
    losses = []
    for i, teacher in enumerate(teachers):
        target = softmax((teacher - center) / teacher_temperature)
        for j, other in enumerate(students):
            if i != j:
                losses.append(-(target * np.log(softmax(other / temperature))).sum(axis=1).mean())
    assert len(losses) == 2 * 1 + 2 * 6  # each large view predicts the other one and six small ones
    return float(np.mean(losses)), 0.9 * center + 0.1 * np.concatenate(teachers).mean(axis=0)


def test_loss_and_centre_are_the_papers() -> None:
    method = dino(temperature=0.2, first_teacher_temperature=0.05, teacher_temperature=0.05)
    loss, center = by_hand(copy.deepcopy(method), 0.2, 0.05)
    step = method.loss(batch_for(method))
    assert step.loss.item() == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(method.center.numpy(), center, rtol=1e-4, atol=1e-6)


def test_the_loss_is_lightlys() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 7, 11, requires_grad=True), torch.randn(2, 7, 11)
    theirs = DINOLoss(output_dim=11, warmup_teacher_temp=0.04, teacher_temp=0.04, student_temp=0.1, center_momentum=0.9)
    center = theirs.center.value if hasattr(theirs.center, "value") else theirs.center
    ours = view_cross_entropy(sharpened(teacher, center.flatten().clone(), 0.04), student, 0.1)
    expected = theirs(list(teacher), list(student), epoch=0)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(ours, student)
    (reference,) = torch.autograd.grad(expected, student)
    torch.testing.assert_close(gradient, reference, rtol=1e-4, atol=1e-7)


def test_gradient_reaches_the_student_alone_and_is_that_of_fixed_targets() -> None:
    method = dino()
    method.loss(batch_for(method)).loss.backward()
    student = [*method.backbone.parameters(), *method.head.parameters()]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in student if p.ndim > 1)
    assert all(p.grad is None for p in method.teacher.parameters())


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_teacher_follows_the_student_by_its_schedule(share: float) -> None:
    method = dino(momentum=0.9)
    before = [p.clone() for p in method.teacher.parameters()]
    online = [*method.backbone.parameters(), *method.head.parameters()]
    method.after_step(Progress(round(100 * share), 100, 10))
    momentum = 1 - 0.1 * (math.cos(math.pi * share) + 1) / 2
    for old, new, followed in zip(before, method.teacher.parameters(), online, strict=True):
        torch.testing.assert_close(new, momentum * old + (1 - momentum) * followed.detach(), rtol=1e-5, atol=1e-6)


def test_the_teacher_is_what_is_evaluated() -> None:
    method = dino()
    assert isinstance(method.encoder, Backbone)
    assert method.encoder is method.teacher.network[0]
    batch = batch_for(method)
    reference = copy.deepcopy(method.encoder)(torch.cat(batch.views["global"]))
    torch.testing.assert_close(method.loss(batch).embedding, reference)


@pytest.mark.parametrize(("share", "temperature"), [(0.0, 0.04), (0.1, 0.055), (0.2, 0.07), (1.0, 0.07)])
def test_the_teachers_temperature_rises_over_its_warm_up(share: float, temperature: float) -> None:
    method = dino(first_teacher_temperature=0.04, teacher_temperature=0.07, teacher_warmup=0.2)
    assert method.teacher_temperature(Progress(round(10 * share), 10, 1)) == pytest.approx(temperature)


def test_the_last_layer_is_frozen_for_the_first_epoch() -> None:
    method = dino()
    moved = []
    for step in (0, 9, 10):  # of an epoch of 10 steps
        optimizer = build_optimizer(method, 0.1)
        before = method.head.prototypes.detach().clone()
        progress = Progress(step, 100, 10)
        method.loss(batch_for(method)._replace(progress=progress)).loss.backward()
        method.after_backward(progress)
        optimizer.step()
        optimizer.zero_grad()
        moved.append(not torch.equal(before, method.head.prototypes))
    assert moved == [False, False, True]


def test_two_large_crops_and_six_small_ones() -> None:
    large, small = dino().view_groups()
    assert (large.count, large.side, large.scale) == (2, 1.0, (0.4, 1.0))
    assert (small.count, small.scale) == (6, (0.05, 0.4))
    assert small.pixels(224, 16) == 96  # appendix E
    assert small.pixels(64, 16) == 32


def test_without_small_crops_it_compares_the_large_ones() -> None:
    method = dino(local_crops=0)
    assert [group.name for group in method.view_groups()] == ["global"]
    assert torch.isfinite(method.loss(batch_for(method)).loss)


def test_the_reported_entropy_is_that_of_the_teachers_distributions() -> None:
    method = dino(first_teacher_temperature=0.05, teacher_temperature=0.05)
    teachers = outputs(copy.deepcopy(method.teacher.network), batch_for(method).views["global"])
    p = softmax((np.concatenate(teachers) - method.center.double().numpy()) / 0.05)
    entropy = -(p * np.log(p)).sum(axis=1).mean()
    assert method.loss(batch_for(method)).scalars["teacher_entropy"].item() == pytest.approx(entropy, rel=1e-4)


@pytest.mark.parametrize(
    ("images", "prototypes"), [(0, 4096), (50, 64), (500, 64), (2_000, 256), (20_000, 4096), (10**6, 4096)]
)
def test_prototypes_follow_the_number_of_images(images: int, prototypes: int) -> None:
    torch.manual_seed(0)
    backbone = build(DINO, **SMALL).backbone
    method = DINO(backbone, DINO.Settings(hidden_dim=8, bottleneck_dim=4), num_images=images)
    assert len(method.head.prototypes) == len(method.center) == prototypes


def test_prototypes_are_compared_by_their_direction_alone() -> None:
    method = dino()
    embedding = torch.randn(BATCH, method.backbone.num_features)
    before = method.head(embedding)
    with torch.no_grad():
        method.head.prototypes.mul_(3.0)
    torch.testing.assert_close(method.head(embedding), before)
    assert before.abs().max() <= 1 + 1e-5


def test_prototypes_begin_short_enough_to_turn() -> None:
    """Uniform between -1 and 1 by the root of their dimension, as the authors' linear layer: of length 3^-0.5."""
    torch.manual_seed(0)
    head = DINO(dino().backbone, DINO.Settings(hidden_dim=8, bottleneck_dim=64, prototypes=500)).head
    lengths = head.prototypes.norm(dim=1)
    assert lengths.mean().item() == pytest.approx(3**-0.5, rel=0.02)
    assert head.prototypes.abs().max() <= 1 / 8


def test_transformers_have_a_recipe_of_their_own() -> None:
    assert recipe_of(build(DINO, transformer=False, **SMALL)).optimizer == "lars"
    recipe = recipe_of(build(DINO, transformer=True, **SMALL))
    assert (recipe.optimizer, recipe.clip) == ("adamw", 3.0)
    assert [recipe.weight_decay_at(share) for share in (0, 0.5, 1)] == pytest.approx([0.04, 0.22, 0.4])
