"""Distillation: the student's similarities to a queue are the teacher's, which has embedded every image once."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from selfsup.methods import Method, method_class
from selfsup.methods.distill import similarity_distillation
from selfsup.testing.backbones import tiny_backbone
from selfsup.testing.digit_batches import BATCH
from selfsup.testing.methods import batch_for, build

Distill = method_class("distill")


def distill(teacher: torch.Tensor, **settings: object) -> Method:
    torch.manual_seed(0)
    backbone = tiny_backbone()
    return Distill(backbone, Distill.Settings(**settings), num_images=len(teacher), teacher=teacher).train()


def images(count: int, width: int = 5) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(1)) + 1


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def by_loops(student: np.ndarray, teacher: np.ndarray, queue: np.ndarray, ts: float, tt: float) -> float:
    """Fang et al. 2021, equations 3 to 5, image by image."""
    total = 0.0
    for view in student:
        for z, t in zip(view, teacher, strict=True):
            p = [math.exp(t @ d / tt) for d in queue]
            q = [math.exp(z @ d / ts) for d in queue]
            total -= sum(a / sum(p) * math.log(b / sum(q)) for a, b in zip(p, q, strict=True))
    return total / (len(student) * len(teacher))


@pytest.mark.parametrize("views", [1, 2])
def test_the_loss_is_the_papers_over_the_batch_and_further_images(views: int) -> None:
    given = images(50)
    method = distill(given, views=views, queue_size=BATCH + 6, temperature=0.2, teacher_temperature=0.1)
    batch = batch_for(method)
    with torch.no_grad():
        z = method.projector(copy.deepcopy(method.backbone)(torch.cat(list(batch.views["global"]))))
    teacher = given.double().numpy()
    teacher = unit(teacher - teacher.mean(axis=0))
    torch.manual_seed(9)
    others = [place for place in torch.randperm(50).tolist() if place >= BATCH]
    queue = teacher[[*range(BATCH), *others[:6]]]  # no image stands twice in it
    student = unit(z.double().numpy()).reshape(views, BATCH, -1)
    expected = by_loops(student, teacher[:BATCH], queue, 0.2, 0.1)
    torch.manual_seed(9)
    assert method.loss(batch).loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_gradient_is_the_difference_of_the_distributions() -> None:
    """Of softmax regression: (q - p) times the queue, over the temperature, across the unit sphere."""
    teacher, queue = F.normalize(images(4), dim=1), F.normalize(images(9), dim=1)
    z = F.normalize(torch.randn(1, 4, 5), dim=2).requires_grad_()
    (gradient,) = torch.autograd.grad(similarity_distillation(z, teacher, queue, 0.2, 0.1), z)
    student = z.detach()
    difference = (student @ queue.T / 0.2).softmax(dim=2) - (teacher @ queue.T / 0.1).softmax(dim=1)
    along = difference @ queue / 0.2 / 4
    torch.testing.assert_close(gradient, along - (along * student).sum(dim=2, keepdim=True) * student)


def test_a_student_that_is_its_teacher_has_the_least_loss() -> None:
    """The teacher's entropy, which no distribution of similarities undercuts."""
    teacher = F.normalize(images(20), dim=1)
    p = (teacher @ teacher.T / 0.1).softmax(dim=1)
    entropy = torch.special.entr(p).sum(dim=1).mean().item()
    assert similarity_distillation(teacher[None], teacher, teacher, 0.1, 0.1).item() == pytest.approx(entropy, rel=1e-5)
    other = F.normalize(torch.randn(1, 20, 5), dim=2)
    assert similarity_distillation(other, teacher, teacher, 0.1, 0.1).item() > entropy


def test_an_image_is_compared_with_its_own_row_of_the_teacher() -> None:
    method = distill(images(50))
    batch = batch_for(method)
    places = torch.randperm(50)[:BATCH]
    step = method.loss(batch._replace(places=places))
    assert step.pair is not None
    torch.testing.assert_close(step.pair[1], method.teacher[places])


def test_what_all_images_share_for_the_teacher_is_taken_out() -> None:
    torch.testing.assert_close(distill(images(30)).teacher, distill(images(30) + 7).teacher, atol=1e-5, rtol=1e-4)


def test_the_teacher_is_not_in_checkpoints_and_takes_no_gradient() -> None:
    method = build(Distill)
    assert not any("teacher" in name for name in method.state_dict())
    assert not any("teacher" in name for name, _ in method.named_parameters())
    assert not method.teacher.requires_grad
