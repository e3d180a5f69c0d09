"""Distillation: a student finds images as like each other as a trained network, its frozen teacher, does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from selfsup.backbones import Backbone
from selfsup.config.grid import Tags
from selfsup.methods import base
from selfsup.methods.parts.losses import in_float32
from selfsup.methods.parts.recipe import Recipe
from selfsup.views import ViewGroup
from selfsup.views.base import to_device


class DistillSettings(base.MethodSettings):
    """`teacher` is a network of timm, by its published weights (NAME) or a file's (NAME@FILE, or FILE of its name).
    It sees every image once, as it is and at the size that it was published for; the student sees `views` of it.
    Similarities are with `queue_size` of the training images: the batch's, and others, drawn anew in every step, or
    all others, where they are fewer."""

    teacher: str | None = None
    views: int = Field(1, ge=1, le=base.FEW)
    temperature: float = Field(0.2, gt=0)
    teacher_temperature: float = Field(0.07, gt=0)
    queue_size: int = Field(2048, ge=2, le=base.MANY)


class Distill(base.Method):
    """Fang et al. 2021, eq. 3 to 5, with a teacher that is asked once per image and not once per view.

    So the queue can hold any of the training images, and beside how they resemble each other the student learns that
    crops and colours do not matter. The teacher's embeddings are taken from their mean, or all images were alike.
    """

    paper = base.Paper(
        "Fang, Wang, Wang, Zhang, Yang, Liu",
        2021,
        "SEED: Self-supervised Distillation for Visual Representation",
        "https://arxiv.org/abs/2101.04731",
    )
    cost = 0.5
    tags = Tags(needs_teacher=True)
    recipe = Recipe(lr=0.3, optimizer="lars", scaling="sqrt", weight_decay=1e-6)
    transformer_recipe = Recipe(lr=5e-4, optimizer="adamw", scaling="sqrt", weight_decay=0.05, clip=3.0)
    Settings = DistillSettings

    teacher: Tensor

    def __init__(
        self,
        backbone: Backbone,
        settings: Any,
        *,
        num_classes: int = 0,
        num_images: int = 0,
        teacher: Tensor | None = None,
    ) -> None:
        super().__init__(backbone, settings)
        found = torch.zeros(num_images, 1) if teacher is None else teacher.float()
        # Not in checkpoints: the study has them.
        self.register_buffer("teacher", F.normalize(found - found.mean(dim=0), dim=1), persistent=False)
        self.projector = nn.Linear(backbone.num_features, found.shape[1])

    def view_groups(self) -> Sequence[ViewGroup]:
        return (ViewGroup("global", self.settings.views),)

    def loss(self, batch: base.Batch) -> base.Step:
        settings, views = self.settings, batch.views["global"]
        embedding = self.backbone(torch.cat(list(views)))
        student = self.projector(embedding).unflatten(0, (len(views), -1))
        # From torch's global state, which the loop sets by seed and step; the batch's images come first.
        drawn = to_device(torch.randperm(len(self.teacher)), embedding.device)
        others = torch.ones_like(drawn).index_fill(0, batch.places, 0)
        queue = drawn[others[drawn].argsort(stable=True)][: settings.queue_size]
        targets = self.teacher[batch.places]
        temperatures = settings.temperature, settings.teacher_temperature
        loss = similarity_distillation(student, targets, self.teacher[queue], *temperatures)
        return base.Step(loss, embedding, (student[0], targets))


@in_float32
def similarity_distillation(
    student: Tensor, teacher: Tensor, queue: Tensor, student_temperature: float, teacher_temperature: float
) -> Tensor:
    """Cross entropy of a student's similarities to a queue of images with its teacher's (Fang et al. 2021, eq. 5).

    Parameters
    ----------
    student : Tensor
        Shape (v, n, d): for v views of n images.
    teacher : Tensor
        Shape (n, d), unit length: of the images.
    queue : Tensor
        Shape (k, d), unit length: a teacher's embeddings.
    student_temperature, teacher_temperature : float
        Greater than 0.

    Returns
    -------
    Tensor
        Scalar: mean over the images and their views.
    """
    targets = (teacher @ queue.T / teacher_temperature).softmax(dim=1)
    logs = (F.normalize(student.float(), dim=2) @ queue.T / student_temperature).log_softmax(dim=2)
    return -(targets * logs).sum(dim=2).mean()
