"""BYOL: a predictor guesses, from one view, what a slowly moving target sees in the other."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn

from selfsup.backbones import Backbone
from selfsup.methods import base
from selfsup.methods.parts.heads import mlp
from selfsup.methods.parts.losses import cosine_regression
from selfsup.methods.parts.momentum import MomentumEncoder, cosine_momentum
from selfsup.methods.parts.recipe import TRANSFORMER_RECIPE, Recipe


class BYOLSettings(base.MethodSettings):
    """`momentum` is where the schedule starts: 0.99 (paper, table 5a) suits the few thousand
    steps of a small data set better than the 0.996 of 1,000 ImageNet epochs."""

    momentum: float = Field(0.99, ge=0, le=1)
    momentum_schedule: Literal["cosine", "constant"] = "cosine"
    hidden_dim: base.Width = 1024
    output_dim: base.Width = 256


class BYOL(base.Method):
    """Grill et al. 2020, algorithm 1."""

    paper = base.Paper(
        "Grill, Strub, Altché, Tallec, Richemond et al.",
        2020,
        "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning",
        "https://arxiv.org/abs/2006.07733",
    )
    cost = 1.35
    # Twice SimCLR's rate: thrice that rate did better on digits and on photographs, ten times it worse than the rate
    # itself.
    recipe = Recipe(lr=0.12)
    transformer_recipe = TRANSFORMER_RECIPE
    Settings = BYOLSettings

    def __init__(self, backbone: Backbone, settings: Any, **sizes: int) -> None:
        super().__init__(backbone, settings, **sizes)
        hidden, out = settings.hidden_dim, settings.output_dim
        self.projector = mlp(backbone.num_features, hidden, out, norm=True)
        self.predictor = mlp(out, hidden, out, norm=True)
        self.target = MomentumEncoder(self._online())

    def _online(self) -> nn.Module:
        return nn.Sequential(self.backbone, self.projector)

    def loss(self, batch: base.Batch) -> base.Step:
        first, second = batch.views["global"]
        embedding = self.backbone(torch.cat([first, second]))
        predictions = self.predictor(self.projector(embedding))
        targets = self.target(torch.cat([second, first]))  # each view predicts the other
        # The mean over 2n pairs is half of the paper's sum of two means; as in the paper's eq. 2
        # the two directions are added, hence the factor.
        # The first half: predictions of the first view, targets of the second.
        pair = predictions[: len(first)], targets[: len(first)]
        return base.Step(2 * cosine_regression(predictions, targets), embedding, pair)

    def momentum(self, progress: base.Progress) -> float:
        start: float = self.settings.momentum
        return cosine_momentum(start, progress.share) if self.settings.momentum_schedule == "cosine" else start

    def after_step(self, progress: base.Progress) -> None:
        self.target.update(self._online(), self.momentum(progress))
