"""A method's published settings of the optimizer, for convolutional networks and for transformers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

OptimizerName = Literal["sgd", "adam", "adamw", "lars"]
#: Batch size that recipes quote their learning rates at.
RECIPE_BATCH = 256


@dataclass(frozen=True)
class Recipe:
    """How a method is optimised.

    Attributes
    ----------
    lr : float
        Learning rate at a batch of 256 images, above 0.
    optimizer : {"sgd", "adam", "adamw", "lars"}
    scaling : {"linear", "sqrt", "none"}
        How the rate grows with the batch: by batch / 256, by its root, or not.
    momentum : float
        Of sgd and lars, in [0, 1).
    betas : (float, float)
        Of adam and adamw.
    weight_decay : float
        At least 0; biases and norms take none.
    final_weight_decay : float or None
        Where the decay ends, on a half cosine (Caron et al. 2021, section 3.2); None for a constant one.
    clip : float or None
        Greatest norm of the whole gradient; None for no bound.
    """

    lr: float
    optimizer: OptimizerName = "sgd"
    scaling: Literal["linear", "sqrt", "none"] = "linear"
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 5e-4
    final_weight_decay: float | None = None
    clip: float | None = None

    def lr_at(self, batch_size: int) -> float:
        """The learning rate for batches of so many images."""
        ratio = batch_size / RECIPE_BATCH
        return self.lr * {"linear": ratio, "sqrt": math.sqrt(ratio), "none": 1.0}[self.scaling]

    def weight_decay_at(self, share: float) -> float:
        """The weight decay after a share of the training, in [0, 1]."""
        if self.final_weight_decay is None:
            return self.weight_decay
        final = self.final_weight_decay
        return final + (self.weight_decay - final) * (1 + math.cos(math.pi * share)) / 2


#: How contrastive and other joint-embedding methods train transformers, unless they say otherwise.
TRANSFORMER_RECIPE = Recipe(lr=5e-4, optimizer="adamw", weight_decay=0.05, clip=3.0)
