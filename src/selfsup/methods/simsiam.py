"""SimSiam: a predictor guesses, from one view, the projections of the others, which pass no gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field

from selfsup.backbones import Backbone
from selfsup.methods import base
from selfsup.methods.parts.heads import mlp
from selfsup.methods.parts.losses import cosine_regression
from selfsup.methods.parts.recipe import TRANSFORMER_RECIPE, Recipe
from selfsup.views import ViewGroup


class SimSiamSettings(base.MethodSettings):
    """`views` of each image: with more than two, each predicts the mean of the others, as FastSiam's four do
    (Pototzky et al. 2022), at a cost that grows with them. The heads are those of the paper's experiments on
    CIFAR-10 (appendix D: two layers) at half of its widths 2048 and 512, which for an 18-layer network on a few CPU
    cores would cost as much as the network."""

    views: int = Field(2, ge=2, le=base.FEW)
    hidden_dim: base.Width = 1024
    output_dim: base.Width = 1024
    predictor_dim: base.Width = 256


class SimSiam(base.Method):
    """Chen and He 2021, algorithm 1; the predictor's learning rate does not decay (section 4.2)."""

    paper = base.Paper(
        "Chen, He",
        2021,
        "Exploring Simple Siamese Representation Learning",
        "https://arxiv.org/abs/2011.10566",
    )
    cost = 1.01
    recipe = Recipe(lr=0.2, weight_decay=1e-4)
    transformer_recipe = TRANSFORMER_RECIPE
    Settings = SimSiamSettings

    def __init__(self, backbone: Backbone, settings: Any, **sizes: int) -> None:
        super().__init__(backbone, settings, **sizes)
        out = settings.output_dim
        widths = (backbone.num_features, settings.hidden_dim, out)
        self.projector = mlp(*widths, norm=True, norm_last=True, affine_last=False)
        self.predictor = mlp(out, settings.predictor_dim, out, norm=True)

    def view_groups(self) -> Sequence[ViewGroup]:
        return (ViewGroup("global", self.settings.views),)

    def loss(self, batch: base.Batch) -> base.Step:
        embedding = self.backbone(torch.cat(list(batch.views["global"])))
        projections = self.projector(embedding)
        predictions = self.predictor(projections).unflatten(0, (self.settings.views, -1))
        z = projections.detach().unflatten(0, (self.settings.views, -1))  # no gradient to targets
        targets = (z.sum(dim=0) - z) / (len(z) - 1)  # of each view, the mean of the others
        # The paper's negative cosine, of the mean over views: 2 - 2 cos, halved, less 1.
        loss = cosine_regression(predictions.flatten(0, 1), targets.flatten(0, 1)) / 2 - 1
        return base.Step(loss, embedding, (z[0], z[1]))  # a new predictor says nothing of how alike views are

    def parameter_groups(self) -> list[base.ParameterGroup]:
        decaying = [(name, p) for name, p in self.named_parameters() if not name.startswith("predictor.")]
        constant = base.without_decay_of_vectors(self.predictor.named_parameters(), constant_lr=True)
        return base.without_decay_of_vectors(decaying, self.backbone.undecayed) + constant
