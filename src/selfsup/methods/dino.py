"""DINO: a student's crops agree with what a slowly moving teacher sees in the large ones, without negatives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from selfsup.backbones import Backbone
from selfsup.methods import base
from selfsup.methods.parts.losses import sharpened, view_cross_entropy
from selfsup.methods.parts.momentum import MomentumEncoder, cosine_momentum
from selfsup.methods.parts.prototypes import PrototypeHead
from selfsup.methods.parts.recipe import Recipe
from selfsup.views import ViewGroup


class DINOSettings(base.MethodSettings):
    """`momentum` is where the schedule starts: 0.99, as in BYOL, where the paper's 0.996 of a million images would
    leave the teacher where it began. `prototypes` are by default a power of 2 of about a fourth of the training
    images, from 64 to 4,096: the paper's 65,536 are for a million images. The teacher's temperature rises linearly
    to its value over the first share `teacher_warmup` of the training, from half of the paper's 0.04: in a few hundred
    steps a student learns little, and what sharpening does not win back each time is lost to the uniform distribution
    (a `teacher_entropy` near the logarithm of the number of prototypes shows that; a lower temperature helps)."""

    prototypes: int | None = Field(None, ge=2, le=base.MANY)
    hidden_dim: base.Width = 2048
    bottleneck_dim: base.Width = 256
    local_crops: int = Field(6, ge=0, le=base.FEW)
    temperature: float = Field(0.1, gt=0)
    first_teacher_temperature: float = Field(0.02, gt=0)
    teacher_temperature: float = Field(0.04, gt=0)
    teacher_warmup: float = Field(0.3, ge=0, le=1)
    center_momentum: float = Field(0.9, ge=0, lt=1)
    momentum: float = Field(0.99, ge=0, le=1)
    frozen_epochs: float = Field(1.0, ge=0)


class DINO(base.Method):
    """Caron et al. 2021, algorithm 1, with multi-crop. The teacher is what is evaluated (section 3.1)."""

    paper = base.Paper(
        "Caron, Touvron, Misra, Jégou, Mairal et al.",
        2021,
        "Emerging Properties in Self-Supervised Vision Transformers",
        "https://arxiv.org/abs/2104.14294",
    )
    cost = 1.92
    recipe = Recipe(lr=0.3, optimizer="lars", weight_decay=1e-6)
    transformer_recipe = Recipe(lr=5e-4, optimizer="adamw", weight_decay=0.04, final_weight_decay=0.4, clip=3.0)
    Settings = DINOSettings

    center: Tensor

    def __init__(self, backbone: Backbone, settings: Any, *, num_classes: int = 0, num_images: int = 0) -> None:
        super().__init__(backbone, settings)
        count = settings.prototypes or _prototypes_for(num_images)
        self.head = PrototypeHead(backbone.num_features, settings.hidden_dim, settings.bottleneck_dim, count)
        self.teacher = MomentumEncoder(self._student())
        self.register_buffer("center", torch.zeros(count))

    def _student(self) -> nn.Module:
        return nn.Sequential(self.backbone, self.head)

    @property
    def encoder(self) -> Backbone:
        teacher: Any = self.teacher.network
        return teacher[0]  # type: ignore[no-any-return]

    def view_groups(self) -> Sequence[ViewGroup]:
        # Areas and sides of appendix E's first setting: 2 x 224 pixels and crops of 96.
        groups = (ViewGroup("global", 2, scale=(0.4, 1.0)),)
        local = self.settings.local_crops
        return (*groups, ViewGroup("local", local, side=3 / 7, scale=(0.05, 0.4))) if local else groups

    def loss(self, batch: base.Batch) -> base.Step:
        settings, large = self.settings, torch.cat(list(batch.views["global"]))
        sizes = [large, *([torch.cat(list(batch.views["local"]))] if settings.local_crops else [])]
        student = torch.cat([self.head(self.backbone(views)) for views in sizes]).unflatten(0, (-1, len(batch.labels)))
        with torch.no_grad():
            embedding = self.encoder(large)
            teacher: Tensor = self.teacher.network[1](embedding).unflatten(0, (2, -1)).float()  # type: ignore[index,operator]
        targets = sharpened(teacher, self.center, self.teacher_temperature(batch.progress))
        loss = view_cross_entropy(targets, student, settings.temperature)
        kept = settings.center_momentum
        self.center.mul_(kept).add_(teacher.mean(dim=(0, 1)), alpha=1 - kept)  # eq. 4; for the next step
        entropy = torch.special.entr(targets).sum(dim=2).mean()
        return base.Step(loss, embedding, (student[0], teacher[1]), {"teacher_entropy": entropy})

    def teacher_temperature(self, progress: base.Progress) -> float:
        """The teacher's temperature at a step: rises over the warm-up, then stays."""
        first, last = self.settings.first_teacher_temperature, self.settings.teacher_temperature
        warmup = self.settings.teacher_warmup
        share = min(1.0, progress.share / warmup) if warmup else 1.0
        return first + (last - first) * share

    def momentum(self, progress: base.Progress) -> float:
        return cosine_momentum(self.settings.momentum, progress.share)

    def after_backward(self, progress: base.Progress) -> None:
        if progress.epoch < self.settings.frozen_epochs:
            self.head.prototypes.grad = None  # section 3.2: the last layer is frozen during the first epoch

    def after_step(self, progress: base.Progress) -> None:
        self.teacher.update(self._student(), self.momentum(progress))


def _prototypes_for(images: int) -> int:
    """Prototypes for a number of training images, 0 where it is unknown."""
    return 4096 if not images else min(4096, max(64, 2 ** int(math.log2(max(1, images / 4)))))
