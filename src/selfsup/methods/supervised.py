"""Supervised: the backbone is fine-tuned with the labels, the bar that SSL is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from selfsup.backbones import Backbone
from selfsup.config.grid import Traits
from selfsup.methods import base


class Supervised(base.Method):
    """Cross entropy on one view; judged, like every method, by a linear probe on its embedding."""

    paper = base.Paper(
        "He, Zhang, Ren, Sun",
        2016,
        "Deep Residual Learning for Image Recognition",
        "https://arxiv.org/abs/1512.03385",
    )
    traits = Traits(uses_labels=True)
    views = 1

    def __init__(self, backbone: Backbone, settings: Any, *, num_classes: int = 0, num_images: int = 0) -> None:
        super().__init__(backbone, settings)
        self.classifier = nn.Linear(backbone.num_features, num_classes)

    def loss(self, views: Sequence[Tensor], labels: Tensor) -> base.Step:
        embedding = self.backbone(views[0])
        return base.Step(F.cross_entropy(self.classifier(embedding).float(), labels), embedding)
