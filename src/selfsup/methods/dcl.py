"""DCL: SimCLR whose positive pair does not weaken its own gradient, so that small batches suffice."""

from __future__ import annotations

from torch import Tensor

from selfsup.methods import base
from selfsup.methods.parts.contrast import decoupled_contrast
from selfsup.methods.simclr import SimCLR


class DCL(SimCLR):
    """Yeh et al. 2022, equation 6; head, views, settings and recipe are SimCLR's."""

    paper = base.Paper(
        "Yeh, Hong, Hsu, Liu, Chen, LeCun",
        2022,
        "Decoupled Contrastive Learning",
        "https://arxiv.org/abs/2110.06848",
    )

    def contrast(self, projections: Tensor, labels: Tensor) -> Tensor:
        loss: Tensor = decoupled_contrast(projections, self.settings.temperature)
        return loss
