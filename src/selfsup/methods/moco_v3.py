"""MoCo v3: a prediction finds its key, from a slowly moving encoder, among the keys of the batch; no queue."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import nn

from selfsup.backbones import Backbone
from selfsup.methods import base
from selfsup.methods.parts.contrast import info_nce_in_batch
from selfsup.methods.parts.heads import mlp
from selfsup.methods.parts.momentum import MomentumEncoder, cosine_momentum, momentum_for
from selfsup.methods.parts.recipe import Recipe


class MoCoV3Settings(base.MethodSettings):
    """`momentum` is where the schedule starts, by default the paper's 0.99, but at most 1 - 10/steps: the average looks
    back over a tenth of the training at most. `frozen_patch_embedding`: a transformer's first layer keeps its initial
    weights, which keeps the training stable (section 4). The hidden layers have a fourth of the paper's 4096 units,
    which for an 18-layer network on a few CPU cores would cost more than the network."""

    temperature: float = Field(0.2, gt=0)
    momentum: float | None = Field(None, ge=0, le=1)
    frozen_patch_embedding: bool = True
    hidden_dim: base.Width = 1024
    output_dim: base.Width = 256


class MoCoV3(base.Method):
    """Chen et al. 2021, algorithm 1. The paper's views are unequal: augmentation `byol`."""

    paper = base.Paper(
        "Chen, Xie, He",
        2021,
        "An Empirical Study of Training Self-Supervised Vision Transformers",
        "https://arxiv.org/abs/2104.02057",
    )
    cost = 1.35
    recipe = Recipe(lr=0.3, optimizer="lars", weight_decay=1e-6)
    transformer_recipe = Recipe(lr=3e-4, optimizer="adamw", weight_decay=0.1)
    Settings = MoCoV3Settings

    def __init__(self, backbone: Backbone, settings: Any, **sizes: int) -> None:
        super().__init__(backbone, settings, **sizes)
        hidden, out = settings.hidden_dim, settings.output_dim
        # A transformer, which has no batch norm, gets a third layer and batch norm after the predictor (section 5).
        layers = 2 if backbone.is_transformer else 1
        widths = (backbone.num_features, *[hidden] * layers, out)
        self.projector = mlp(*widths, norm=True, norm_last=True, affine_last=False)
        self.predictor = mlp(out, hidden, out, norm=True, norm_last=backbone.is_transformer, affine_last=False)
        self.momentum_encoder = MomentumEncoder(self._online())

    def _online(self) -> nn.Module:
        return nn.Sequential(self.backbone, self.projector)

    def loss(self, batch: base.Batch) -> base.Step:
        first, second = batch.views["global"]
        embedding = self.backbone(torch.cat([first, second]))
        query_1, query_2 = self.predictor(self.projector(embedding)).chunk(2)
        key_1, key_2 = self.momentum_encoder(torch.cat([first, second])).chunk(2)
        temperature = self.settings.temperature
        loss = info_nce_in_batch(query_1, key_2, temperature) + info_nce_in_batch(query_2, key_1, temperature)
        return base.Step(loss, embedding, (query_1, key_2))

    def momentum(self, progress: base.Progress) -> float:
        start = self.settings.momentum
        return cosine_momentum(momentum_for(progress.steps, 0.99) if start is None else start, progress.share)

    def after_backward(self, progress: base.Progress) -> None:
        patch_embedding = getattr(self.backbone.network, "patch_embed", None)
        if self.settings.frozen_patch_embedding and patch_embedding is not None:
            for parameter in patch_embedding.parameters():
                parameter.grad = None  # the optimizer passes it over, its decay included

    def after_step(self, progress: base.Progress) -> None:
        self.momentum_encoder.update(self._online(), self.momentum(progress))
