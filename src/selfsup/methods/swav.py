"""SwAV: images are divided evenly among prototypes, and each view predicts the share of another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from selfsup.backbones import Backbone
from selfsup.methods import base
from selfsup.methods.parts.heads import mlp
from selfsup.methods.parts.key_queue import KeyQueue
from selfsup.methods.parts.losses import in_float32, view_cross_entropy
from selfsup.methods.parts.recipe import TRANSFORMER_RECIPE, Recipe
from selfsup.methods.parts.sinkhorn import sinkhorn
from selfsup.views import ViewGroup


class SwAVSettings(base.MethodSettings):
    """`prototypes` are by default an eighth of the training images, from 32 to the paper's 3,000 of a million. A batch
    of fewer images cannot be divided evenly among them, so after `queue_epochs`, once there have been so many, as many
    earlier features stand beside it (`queue_size`; 0: none). Prototypes stay as they began for `frozen_epochs`."""

    prototypes: int | None = Field(None, ge=2, le=base.MANY)
    hidden_dim: base.Width = 2048
    output_dim: base.Width = 128
    local_crops: int = Field(6, ge=0, le=base.FEW)
    temperature: float = Field(0.1, gt=0)
    epsilon: float = Field(0.05, gt=0)
    iterations: int = Field(3, ge=1, le=base.FEW)
    queue_size: int | None = Field(None, ge=0, le=base.MANY)
    queue_epochs: float = Field(15.0, ge=1)
    frozen_epochs: float = Field(1.0, ge=0)


class SwAV(base.Method):
    """Caron et al. 2020, algorithm 1, with multi-crop."""

    paper = base.Paper(
        "Caron, Misra, Mairal, Goyal, Bojanowski, Joulin",
        2020,
        "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments",
        "https://arxiv.org/abs/2006.09882",
    )
    cost = 1.43
    recipe = Recipe(lr=0.6, optimizer="lars", weight_decay=1e-6)
    transformer_recipe = TRANSFORMER_RECIPE
    Settings = SwAVSettings

    def __init__(self, backbone: Backbone, settings: Any, *, num_classes: int = 0, num_images: int = 0) -> None:
        super().__init__(backbone, settings)
        count = settings.prototypes or (min(3000, max(32, num_images // 8)) if num_images else 3000)
        self.projector = mlp(backbone.num_features, settings.hidden_dim, settings.output_dim, norm=True)
        self.prototypes = nn.Parameter(F.normalize(torch.randn(count, settings.output_dim), dim=1))
        earlier = count if settings.queue_size is None else settings.queue_size
        self.queues = nn.ModuleList([KeyQueue(earlier, settings.output_dim) for _ in range(2 if earlier else 0)])

    def view_groups(self) -> Sequence[ViewGroup]:
        # Areas and sides of section 4.1: 2 x 224 pixels and crops of 96.
        groups = (ViewGroup("global", 2, scale=(0.14, 1.0)),)
        local = self.settings.local_crops
        return (*groups, ViewGroup("local", local, side=3 / 7, scale=(0.05, 0.14))) if local else groups

    def loss(self, batch: base.Batch) -> base.Step:
        settings, large = self.settings, self.backbone(torch.cat(list(batch.views["global"])))
        small = [self.backbone(torch.cat(list(batch.views["local"])))] if settings.local_crops else []
        features = self.projector(torch.cat([large, *small])).unflatten(0, (-1, len(batch.labels)))
        scores = _similarities(features, self.prototypes)
        codes = torch.stack([self._codes(view, scores[view], batch.progress) for view in range(2)])
        for queue, of_view in zip(self.queues, features, strict=False):
            queue.push(of_view)  # type: ignore[operator]  # after the codes: no image stands twice among them
        return base.Step(view_cross_entropy(codes, scores, settings.temperature), large, (features[0], features[1]))

    @torch.no_grad()
    def _codes(self, view: int, scores: Tensor, progress: base.Progress) -> Tensor:
        """How the images of a batch are divided among the prototypes, shape (n, prototypes)."""
        among = scores
        if len(self.queues) and progress.epoch >= self.settings.queue_epochs:
            earlier: Any = self.queues[view]
            # Not while it holds random vectors. Batches differ by one image at most.
            if progress.step * (len(scores) - 1) >= len(earlier.keys):
                among = torch.cat([scores, _similarities(earlier.keys, self.prototypes)])
        return sinkhorn(among, self.settings.epsilon, self.settings.iterations)[: len(scores)]

    def after_backward(self, progress: base.Progress) -> None:
        if progress.epoch < self.settings.frozen_epochs:
            self.prototypes.grad = None

    @torch.no_grad()
    def after_step(self, progress: base.Progress) -> None:
        self.prototypes.copy_(F.normalize(self.prototypes, dim=1))


@in_float32
def _similarities(features: Tensor, prototypes: Tensor) -> Tensor:
    """Of features, shape (..., d), with prototypes of unit length, shape (k, d)."""
    return F.normalize(features.float(), dim=-1) @ prototypes.T
