"""NNCLR: as SimCLR, but what a view is to find is the nearest neighbour, among earlier images, of the other view."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from selfsup.backbones import Backbone
from selfsup.methods import base
from selfsup.methods.parts.heads import mlp
from selfsup.methods.parts.key_queue import KeyQueue
from selfsup.methods.parts.losses import in_float32
from selfsup.methods.parts.recipe import TRANSFORMER_RECIPE, Recipe

#: Most images of the support set where nothing else is set; and the images that there are where that is unknown.
SUPPORT_SIZE, UNKNOWN_IMAGES = 65_536, 8192


class NNCLRSettings(base.MethodSettings):
    """`support_size`, the images among which neighbours are sought, is by default half the number of training images,
    at most 65,536: of all of them, the nearest would be the image itself, as it was an epoch ago."""

    temperature: float = Field(0.2, gt=0)
    support_size: int | None = Field(None, ge=1, le=base.MANY)
    hidden_dim: base.Width = 2048
    output_dim: base.Width = 256
    predictor_dim: base.Width = 4096


class NNCLR(base.Method):
    """Dwibedi et al. 2021, the algorithm of appendix A."""

    paper = base.Paper(
        "Dwibedi, Aytar, Tompson, Sermanet, Zisserman",
        2021,
        "With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual Representations",
        "https://arxiv.org/abs/2104.14548",
    )
    cost = 1.06
    recipe = Recipe(lr=0.4, optimizer="lars", weight_decay=1e-5)
    transformer_recipe = TRANSFORMER_RECIPE
    Settings = NNCLRSettings

    def __init__(self, backbone: Backbone, settings: Any, *, num_classes: int = 0, num_images: int = 0) -> None:
        super().__init__(backbone, settings)
        hidden, out = settings.hidden_dim, settings.output_dim
        self.projector = mlp(backbone.num_features, hidden, hidden, out, norm=True, norm_last=True)
        self.predictor = mlp(out, settings.predictor_dim, out, norm=True)
        size = settings.support_size or max(1, min(SUPPORT_SIZE, (num_images or UNKNOWN_IMAGES) // 2))
        self.support = KeyQueue(size, out)

    def loss(self, batch: base.Batch) -> base.Step:
        embedding = self.backbone(torch.cat(list(batch.views["global"])))
        projections = self.projector(embedding)
        (first, second), (of_first, of_second) = projections.chunk(2), self.predictor(projections).chunk(2)
        temperature = self.settings.temperature
        losses = [
            neighbour_nce(nearest(projected, self.support.keys), predicted, temperature)
            for projected, predicted in ((first, of_second), (second, of_first))
        ]
        self.support.push(first)  # after the search: an image's neighbour is another image
        return base.Step((losses[0] + losses[1]) / 2, embedding, (first, second))


@in_float32
@torch.no_grad()
def nearest(projections: Tensor, support: Tensor) -> Tensor:
    """The nearest of `support`, shape (k, d) and unit length, for each projection, shape (n, d); no gradient flows."""
    return support[(F.normalize(projections.float(), dim=1) @ support.T).argmax(dim=1)]


@in_float32
def neighbour_nce(neighbours: Tensor, predictions: Tensor, temperature: float) -> Tensor:
    """InfoNCE of neighbours among the predictions of a batch (Dwibedi et al. 2021, eq. 3).

    Parameters
    ----------
    neighbours : Tensor
        Shape (n, d), unit length: of one view of n images.
    predictions : Tensor
        Shape (n, d): for the other view; row i is the positive of row i, all others are negatives.
    temperature : float
        Greater than 0.
    """
    logits = neighbours @ F.normalize(predictions.float(), dim=1).T / temperature
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))
