"""LeJEPA: views of an image agree, and embeddings are tested on random directions to be an isotropic Gaussian."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from selfsup.backbones import Backbone
from selfsup.methods import base
from selfsup.methods.parts.heads import mlp
from selfsup.methods.parts.losses import in_float32
from selfsup.methods.parts.recipe import Recipe
from selfsup.methods.parts.sigreg import sigreg
from selfsup.views import ViewGroup
from selfsup.views.base import to_device


class LeJEPASettings(base.MethodSettings):
    """`weight` is that of SIGReg, the one hyper-parameter of the paper; agreement has the rest, 1 - weight.
    `directions` are drawn anew in every step."""

    weight: float = Field(0.05, gt=0, lt=1)
    directions: int = Field(256, ge=1, le=base.WIDEST)
    local_crops: int = Field(6, ge=0, le=base.FEW)
    hidden_dim: base.Width = 2048
    output_dim: base.Width = 128


class LeJEPA(base.Method):
    """Balestriero & LeCun 2025, algorithm 2: no teacher, no predictor, no stop-gradient."""

    paper = base.Paper(
        "Balestriero, LeCun",
        2025,
        "LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics",
        "https://arxiv.org/abs/2511.08544",
    )
    cost = 1.76
    # Four times the transformers' rate: a ResNet-10 did better with six times that rate than with twice it, on digits
    # and on photographs (docs/methods.md).
    recipe = Recipe(lr=2e-3, optimizer="adamw", weight_decay=0.05)
    transformer_recipe = Recipe(lr=5e-4, optimizer="adamw", weight_decay=0.05)
    Settings = LeJEPASettings

    def __init__(self, backbone: Backbone, settings: Any, **sizes: int) -> None:
        super().__init__(backbone, settings, **sizes)
        hidden = settings.hidden_dim
        self.projector = mlp(backbone.num_features, hidden, hidden, settings.output_dim, norm=True)

    def view_groups(self) -> Sequence[ViewGroup]:
        # Of 224 and 98 pixels in the paper.
        groups = (ViewGroup("global", 2, scale=(0.3, 1.0)),)
        local = self.settings.local_crops
        return (*groups, ViewGroup("local", local, side=7 / 16, scale=(0.05, 0.3))) if local else groups

    def loss(self, batch: base.Batch) -> base.Step:
        settings, large = self.settings, self.backbone(torch.cat(list(batch.views["global"])))
        small = [self.backbone(torch.cat(list(batch.views["local"])))] if settings.local_crops else []
        # The projector sees one size at a time, as the backbone does: under statistics of both together, neither size
        # is a Gaussian, which SIGReg asks of each view.
        views = torch.cat([self.projector(found) for found in (large, *small)]).unflatten(0, (-1, len(batch.labels)))
        # From torch's global state, which the loop sets by seed and step.
        drawn = F.normalize(torch.randn(settings.output_dim, settings.directions), dim=0)
        agreement, gaussian = distance_to_centre(views, 2), sigreg(views, to_device(drawn, views.device))
        loss = (1 - settings.weight) * agreement + settings.weight * gaussian
        scalars = {"agreement": agreement, "sigreg": gaussian}
        return base.Step(loss, large, (views[0], views[1]), scalars)


@in_float32
def distance_to_centre(views: Tensor, large: int) -> Tensor:
    """Mean squared distance of all views from the mean of the large ones (Balestriero & LeCun 2025, algorithm 2).

    Parameters
    ----------
    views : Tensor
        Shape (v, n, d): v views of n images.
    large : int
        How many of the views, the first ones, are large.
    """
    values = views.float()
    return (values - values[:large].mean(dim=0)).square().mean()
