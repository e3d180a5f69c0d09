"""SimCLR: two views of an image attract, all other images in the batch repel."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from selfsup.backbones import Backbone
from selfsup.methods import base
from selfsup.methods.parts.contrast import nt_xent
from selfsup.methods.parts.heads import mlp
from selfsup.methods.parts.recipe import TRANSFORMER_RECIPE


class SimCLRSettings(base.MethodSettings):
    """`temperature` is that of MoCo v2, and with few images and epochs beats the paper's 0.5 for small
    images and 1,000 epochs (appendix B.9): docs/performance.md, time to accuracy."""

    temperature: float = Field(0.2, gt=0)
    hidden_dim: base.Width = 512
    output_dim: base.Width = 128


class SimCLR(base.Method):
    """Chen et al. 2020, algorithm 1."""

    paper = base.Paper(
        "Chen, Kornblith, Norouzi, Hinton",
        2020,
        "A Simple Framework for Contrastive Learning of Visual Representations",
        "https://arxiv.org/abs/2002.05709",
    )
    cost = 1.0

    transformer_recipe = TRANSFORMER_RECIPE
    Settings = SimCLRSettings

    def __init__(self, backbone: Backbone, settings: Any, **sizes: int) -> None:
        super().__init__(backbone, settings, **sizes)
        self.projector = mlp(backbone.num_features, settings.hidden_dim, settings.output_dim, norm=True, norm_last=True)

    def loss(self, batch: base.Batch) -> base.Step:
        # One pass over both views: batch normalisation sees the 2n images together, as in the
        # authors' code, and small images fill the processor better.
        embedding = self.backbone(torch.cat(list(batch.views["global"])))
        projections = self.projector(embedding)
        first, second = projections.chunk(2)
        return base.Step(self.contrast(projections, batch.labels), embedding, (first, second))

    def contrast(self, projections: Tensor, labels: Tensor) -> Tensor:
        """What is minimised, of projections of shape (2n, d): first views, then second ones."""
        loss: Tensor = nt_xent(projections, self.settings.temperature)
        return loss
