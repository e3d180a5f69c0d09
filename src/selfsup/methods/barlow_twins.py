"""Barlow Twins: each dimension agrees between two views of an image, and no two dimensions say the same."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field

from selfsup.backbones import Backbone
from selfsup.methods import base
from selfsup.methods.parts.correlation import barlow_twins
from selfsup.methods.parts.heads import mlp
from selfsup.methods.parts.recipe import TRANSFORMER_RECIPE, Recipe


class BarlowTwinsSettings(base.MethodSettings):
    """`redundancy` is the paper's lambda. The paper's three layers of 8192 would cost more than an 18-layer network on
    small images: three of 1024 here."""

    redundancy: float = Field(5e-3, ge=0)
    hidden_dim: base.Width = 1024
    output_dim: base.Width = 1024


class BarlowTwins(base.Method):
    """Zbontar et al. 2021, algorithm 1, divided by the number of dimensions, so that one rate suits any width. The
    paper's views are unequal: augmentation `byol`. Its LARS would move every weight by the greatest step that LARS
    allows, whatever the rate, and in a few hundred steps of small batches made networks worse. With SGD it learns from
    1,000 images in batches of 64; from 200 in batches of 50, over which correlations are mostly noise, it does not."""

    paper = base.Paper(
        "Zbontar, Jing, Misra, LeCun, Deny",
        2021,
        "Barlow Twins: Self-Supervised Learning via Redundancy Reduction",
        "https://arxiv.org/abs/2103.03230",
    )
    cost = 1.02
    recipe = Recipe(lr=0.1, weight_decay=1e-4)
    transformer_recipe = TRANSFORMER_RECIPE
    Settings = BarlowTwinsSettings

    def __init__(self, backbone: Backbone, settings: Any, **sizes: int) -> None:
        super().__init__(backbone, settings, **sizes)
        hidden = settings.hidden_dim
        self.projector = mlp(backbone.num_features, hidden, hidden, settings.output_dim, norm=True)

    def loss(self, batch: base.Batch) -> base.Step:
        embedding = self.backbone(torch.cat(list(batch.views["global"])))
        first, second = self.projector(embedding).chunk(2)
        loss = barlow_twins(first, second, self.settings.redundancy) / first.shape[1]
        return base.Step(loss, embedding, (first, second))
