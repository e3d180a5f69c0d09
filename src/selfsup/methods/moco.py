"""MoCo v2: a query finds its key, from a slowly moving encoder, among a queue of older keys."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from selfsup.backbones import Backbone
from selfsup.methods import base
from selfsup.methods.parts.contrast import info_nce
from selfsup.methods.parts.heads import mlp
from selfsup.methods.parts.key_queue import KeyQueue
from selfsup.methods.parts.momentum import MomentumEncoder
from selfsup.methods.parts.recipe import TRANSFORMER_RECIPE
from selfsup.views.base import to_device

#: Most keys of the queue where nothing else is set.
QUEUE_SIZE = 4096


class MoCoSettings(base.MethodSettings):
    """The momentum is that of the authors' CIFAR-10 demonstration: a data set of thousands gives too few
    steps for 0.999. `queue_size` is by default theirs of that demonstration, 4,096, but at most half the
    number of training images: a longer queue would hold the positive of nearly every query."""

    temperature: float = Field(0.2, gt=0)
    momentum: float = Field(0.99, ge=0, lt=1)
    queue_size: int | None = Field(None, ge=1, le=base.MANY)
    shuffle_groups: int = Field(4, ge=1, le=base.FEW)
    hidden_dim: base.Width = 512
    output_dim: base.Width = 128


class MoCo(base.Method):
    """He et al. 2020, algorithm 1, with the MLP head and temperature of Chen et al. 2020b."""

    paper = base.Paper(
        "He, Fan, Wu, Xie, Girshick; Chen, Fan, Girshick, He",
        2020,
        "Momentum Contrast for Unsupervised Visual Representation Learning (v2: Improved Baselines)",
        "https://arxiv.org/abs/2003.04297",
    )
    cost = 0.67

    transformer_recipe = TRANSFORMER_RECIPE
    Settings = MoCoSettings

    def __init__(self, backbone: Backbone, settings: Any, *, num_classes: int = 0, num_images: int = 0) -> None:
        super().__init__(backbone, settings)
        self.projector = mlp(backbone.num_features, settings.hidden_dim, settings.output_dim, norm=False)
        self.momentum_encoder = MomentumEncoder(self._online())
        keys = settings.queue_size or max(1, min(QUEUE_SIZE, num_images // 2 or QUEUE_SIZE))
        self.queue = KeyQueue(keys, settings.output_dim)

    def _online(self) -> nn.Module:
        return nn.Sequential(self.backbone, self.projector)

    def loss(self, batch: base.Batch) -> base.Step:
        first, second = batch.views["global"]
        embedding = self.backbone(first)
        queries = self.projector(embedding)
        keys = _encode_shuffled(self.momentum_encoder, second, self.settings.shuffle_groups)
        loss = info_nce(queries, keys, self.queue.keys.clone(), self.settings.temperature)
        self.queue.push(keys)  # after the logits: a positive must not be a negative too
        return base.Step(loss, embedding, (queries, keys))

    def momentum(self, progress: base.Progress) -> float:
        return self.settings.momentum

    def after_step(self, progress: base.Progress) -> None:
        self.momentum_encoder.update(self._online(), self.momentum(progress))


@torch.no_grad()
def _encode_shuffled(encoder: nn.Module, images: Tensor, groups: int) -> Tensor:
    """Keys of shape (n, d), each batch-normalised within a random group of the batch.

    Shuffling BN (He et al. 2020, section 3.3) on one device: were a query and its key normalised
    over the same images, their shared statistics would give the positive away. Groups hold at
    least 16 images, so that their statistics stay usable.
    """
    groups = max(1, min(groups, len(images) // 16))
    order = to_device(torch.randperm(len(images)), images.device)
    keys = torch.cat([encoder(group) for group in images[order].tensor_split(groups)])
    return keys[order.argsort()]
