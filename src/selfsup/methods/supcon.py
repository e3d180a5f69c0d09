"""SupCon: views of images of one class attract, all others in the batch repel; trains with the labels."""

from __future__ import annotations

from torch import Tensor

from selfsup.config.grid import Tags
from selfsup.methods import base
from selfsup.methods.parts.contrast import supervised_contrast
from selfsup.methods.parts.recipe import Recipe
from selfsup.methods.simclr import SimCLR


class SupCon(SimCLR):
    """Khosla et al. 2020, equation 2; head, views and settings are SimCLR's."""

    paper = base.Paper(
        "Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu, Krishnan",
        2020,
        "Supervised Contrastive Learning",
        "https://arxiv.org/abs/2004.11362",
    )
    tags = Tags(uses_labels=True)
    recipe = Recipe(lr=0.2)

    def contrast(self, projections: Tensor, labels: Tensor) -> Tensor:
        loss: Tensor = supervised_contrast(projections, labels, self.settings.temperature)
        return loss
