"""A head that ends in prototypes: directions that an image is compared with."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from selfsup.methods.parts.heads import mlp


class PrototypeHead(nn.Module):
    """Projector, unit length, cosine similarity with each prototype (Caron et al. 2021, appendix C).

    Prototypes are of unit length too, which is weight normalisation with its gain fixed to 1. What is divided by its
    length begins as the weights of a linear layer, as the authors' does: the longer it is, the less a step turns it.

    Parameters
    ----------
    width : int
        Of the input.
    hidden, bottleneck : int
        Widths of the projector's two hidden layers and of its output.
    count : int
        Prototypes, at least 2.
    """

    def __init__(self, width: int, hidden: int, bottleneck: int, count: int) -> None:
        super().__init__()
        # Batch normalisation (the authors' use_bn_in_head): without it the outputs for a few hundred images hardly
        # differ from their centre, and the teacher's distributions fall into the uniform one.
        self.projector = mlp(width, hidden, hidden, bottleneck, norm=True, activation=nn.GELU)
        for layer in self.projector:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
        self.prototypes = nn.Linear(bottleneck, count, bias=False).weight

    def forward(self, embedding: Tensor) -> Tensor:
        """Cosine similarities, shape (n, count)."""
        return F.linear(F.normalize(self.projector(embedding), dim=1), F.normalize(self.prototypes, dim=1))
