"""VICReg: two views of an image agree, while every dimension keeps its variance and none repeats another."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch.nn import functional as F

from selfsup.backbones import Backbone
from selfsup.methods import base
from selfsup.methods.parts.correlation import missing_variance, squared_covariance
from selfsup.methods.parts.heads import mlp
from selfsup.methods.parts.recipe import TRANSFORMER_RECIPE, Recipe


class VICRegSettings(base.MethodSettings):
    """`invariance`, `variance` and `covariance` weight the three terms. The paper's expander of three layers of 8192
    would cost more than an 18-layer network on small images: three of 1024 here."""

    invariance: float = Field(25.0, ge=0)
    variance: float = Field(25.0, ge=0)
    covariance: float = Field(1.0, ge=0)
    hidden_dim: base.Width = 1024
    output_dim: base.Width = 1024


class VICReg(base.Method):
    """Bardes et al. 2022, algorithm 1: squared differences are averaged over dimensions too, and the variance over both
    views, as there and in the authors' code; equations 5 and 6 have sums. The paper's views are unequal: augmentation
    `byol`. SGD in place of its LARS, for small batches and few steps."""

    paper = base.Paper(
        "Bardes, Ponce, LeCun",
        2022,
        "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
        "https://arxiv.org/abs/2105.04906",
    )
    cost = 1.03
    recipe = Recipe(lr=0.1, weight_decay=1e-4)
    transformer_recipe = TRANSFORMER_RECIPE
    Settings = VICRegSettings

    def __init__(self, backbone: Backbone, settings: Any, **sizes: int) -> None:
        super().__init__(backbone, settings, **sizes)
        hidden = settings.hidden_dim
        self.expander = mlp(backbone.num_features, hidden, hidden, settings.output_dim, norm=True)

    def loss(self, batch: base.Batch) -> base.Step:
        settings = self.settings
        embedding = self.backbone(torch.cat(list(batch.views["global"])))
        first, second = self.expander(embedding).chunk(2)
        terms = {
            "invariance": F.mse_loss(first.float(), second.float()),
            "variance": (missing_variance(first) + missing_variance(second)) / 2,
            "covariance": squared_covariance(first) + squared_covariance(second),
        }
        loss = sum(getattr(settings, name) * term for name, term in terms.items())
        return base.Step(loss, embedding, (first, second), {name: term.detach() for name, term in terms.items()})
