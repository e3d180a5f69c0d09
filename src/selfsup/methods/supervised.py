"""Supervised: the backbone is fine-tuned with the labels, the bar that SSL is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.nn import functional as F

from selfsup.backbones import Backbone
from selfsup.config.grid import Tags
from selfsup.methods import base
from selfsup.methods.parts.recipe import TRANSFORMER_RECIPE
from selfsup.views import ViewGroup


class Supervised(base.Method):
    """Cross entropy on one view; evaluated, like every method, by a linear probe on its embedding.

    Where images may have several labels, binary cross entropy of each, mean over the labels.
    """

    paper = base.Paper(
        "He, Zhang, Ren, Sun",
        2016,
        "Deep Residual Learning for Image Recognition",
        "https://arxiv.org/abs/1512.03385",
    )
    cost = 0.5
    tags = Tags(uses_labels=True, takes_several_labels=True)
    transformer_recipe = TRANSFORMER_RECIPE

    def __init__(self, backbone: Backbone, settings: Any, *, num_classes: int = 0, num_images: int = 0) -> None:
        super().__init__(backbone, settings)
        self.classifier = nn.Linear(backbone.num_features, num_classes)

    def view_groups(self) -> Sequence[ViewGroup]:
        return (ViewGroup("global"),)

    def loss(self, batch: base.Batch) -> base.Step:
        (images,) = batch.views["global"]
        embedding = self.backbone(images)
        logits, labels = self.classifier(embedding).float(), batch.labels
        if labels.ndim == 2:
            return base.Step(F.binary_cross_entropy_with_logits(logits, labels.float()), embedding)
        return base.Step(F.cross_entropy(logits, labels), embedding)
