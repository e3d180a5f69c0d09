"""A linear classifier on patches, pooled by learned queries in the place of their mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsup.evaluation.linear_probe import standardisation

#: Most queries; each pools its share of the dimensions.
HEADS = 4
#: Most steps of L-BFGS for each C.
STEPS = 50


@dataclass(frozen=True)
class AttentiveProbe:
    """Cross-attention of a few queries over patches, then a linear layer (Psomas et al. 2025, "efficient probing").

    Keys are the patches themselves, and so are values, of which each query pools its share of the dimensions: what
    projections of them could add is in the queries and the linear layer.

    Attributes
    ----------
    mean, scale : Tensor, shape (width,)
        Standardisation of the patches.
    query : Tensor, shape (heads, width)
    weight : Tensor, shape (classes, width)
    bias : Tensor, shape (classes,)
    """

    mean: Tensor
    scale: Tensor
    query: Tensor
    weight: Tensor
    bias: Tensor

    def logits(self, patches: Tensor) -> Tensor:
        """Scores of the classes, shape (n, classes), from patches of shape (n, k, width)."""
        return attend((patches - self.mean) / self.scale, self.query) @ self.weight.mT + self.bias


def attend(patches: Tensor, query: Tensor) -> Tensor:
    """Patches, shape (n, k, width), pooled to (n, width) with the attention of each query to its share of the width."""
    attention = torch.softmax(query @ patches.mT / math.sqrt(patches.shape[-1]), dim=-1)
    shares = (attention @ patches).unflatten(-1, (len(query), -1))  # query, share, dimension
    return shares.diagonal(dim1=1, dim2=2).mT.flatten(1)


def fit_attentive_probes(patches: Tensor, y: Tensor, Cs: Sequence[float], *, num_classes: int) -> list[AttentiveProbe]:
    """Minimise, for each C, the sum of cross entropies plus (|W|^2 + |q|^2) / (2 C), the biases free.

    With queries of zero this is the linear probe on the standardised mean of an image's patches. There L-BFGS begins,
    with the smallest C, and each further C begins where the one before ended, so that nothing is drawn at random.

    Parameters
    ----------
    patches : Tensor of float32, shape (n, k, width)
        Overwritten: standardised in place, for they may fill the memory.
    y : Tensor of int64, shape (n,)
        Classes in [0, num_classes), all of which should occur.
    Cs : sequence of float
        Inverse penalties, ascending.
    num_classes : int
    """
    mean, scale = (torch.from_numpy(part).to(patches) for part in standardisation(patches.mean(dim=1).cpu().numpy()))
    patches.sub_(mean).div_(scale)
    width = patches.shape[-1]
    shapes = ((math.gcd(HEADS, width), width), (num_classes, width), (num_classes,))
    parameters = [patches.new_zeros(shape).requires_grad_() for shape in shapes]
    probes = []
    for C in Cs:
        _descend(patches, y, C, parameters)
        probes.append(AttentiveProbe(mean, scale, *(parameter.detach().clone() for parameter in parameters)))
    return probes


def _descend(patches: Tensor, y: Tensor, C: float, parameters: list[Tensor]) -> None:
    optimizer = torch.optim.LBFGS(parameters, max_iter=STEPS, line_search_fn="strong_wolfe")
    query, weight, bias = parameters

    def objective() -> Tensor:
        optimizer.zero_grad()
        errors = F.cross_entropy(attend(patches, query) @ weight.mT + bias, y)
        loss = errors + ((weight**2).sum() + (query**2).sum()) / (2 * C * len(y))
        loss.backward()
        return loss

    optimizer.step(objective)
