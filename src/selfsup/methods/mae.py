"""MAE: a transformer sees a quarter of the patches, and a small decoder reconstructs the others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from selfsup.backbones import Backbone
from selfsup.config.grid import Tags
from selfsup.errors import UserError
from selfsup.methods import base
from selfsup.methods.parts.losses import in_float32
from selfsup.methods.parts.recipe import Recipe
from selfsup.views import RandomMask, ViewGroup
from selfsup.views.base import to_device


class MAESettings(base.MethodSettings):
    """The decoder is narrower and shallower than the paper's (512 wide, 8 blocks), which is made for larger
    encoders: it may cost less than the encoder."""

    mask_ratio: float = Field(0.75, gt=0, lt=1)
    decoder_dim: int = Field(128, ge=8, le=base.WIDEST, multiple_of=4)
    decoder_depth: int = Field(4, ge=1, le=base.FEW)
    decoder_heads: int = Field(4, ge=1, le=base.FEW)

    @field_validator("decoder_heads")
    @classmethod
    def _divide(cls, heads: int, others: ValidationInfo) -> int:
        width = others.data.get("decoder_dim", heads)
        if width % heads:
            raise ValueError(f"must divide decoder_dim, {width}")
        return heads


class MAE(base.Method):
    """He et al. 2022, with pixels normalised by patch. Rank it by fine-tuning too: a linear probe underrates it."""

    paper = base.Paper(
        "He, Chen, Xie, Li, Dollár, Girshick",
        2022,
        "Masked Autoencoders Are Scalable Vision Learners",
        "https://arxiv.org/abs/2111.06377",
    )
    cost = 0.23
    # Crops alone: colour distortion makes it worse (table 1e).
    tags = Tags(needs_tokens=True, augmentation="crop")
    recipe = Recipe(lr=1.5e-4, optimizer="adamw", weight_decay=0.05, betas=(0.9, 0.95))
    Settings = MAESettings

    def __init__(self, backbone: Backbone, settings: Any, *, num_classes: int = 0, num_images: int = 0) -> None:
        super().__init__(backbone, settings)
        assert backbone.patch_size is not None, "MAE needs the tokens of a transformer"
        network: Any = backbone.network
        if network.attn_pool is not None:
            raise UserError(
                "mae trains the tokens of a network and not the layer by which this one pools them, whose weights "
                "would stay as they began; choose a --backbone that pools without weights."
            )
        network.fc_norm.requires_grad_(False)  # it stands behind the pooling, where no gradient comes from
        self.decoder = Decoder(
            backbone.num_features,
            settings.decoder_dim,
            settings.decoder_depth,
            settings.decoder_heads,
            outputs=backbone.in_channels * backbone.patch_size**2,
        )
        self.mask = RandomMask(settings.mask_ratio, backbone.patch_size)

    def view_groups(self) -> Sequence[ViewGroup]:
        return (ViewGroup("masked", mask=self.mask),)

    def loss(self, batch: base.Batch) -> base.Step:
        (images,), (hidden,) = batch.views["masked"], batch.masks["masked"]
        shown = hidden.shape[1] - self.mask.hidden(hidden.shape[1])
        order = hidden.int().argsort(dim=1, stable=True)  # patches that stay come first
        tokens = self.backbone.tokens(images, keep=order[:, :shown])
        predicted = self.decoder(tokens.patches, order)
        patches = patches_of(self.backbone.normalise(images), self.mask.patch)
        loss = reconstruction(predicted, patches, hidden)
        return base.Step(loss, self.backbone.pool(tokens))


class Decoder(nn.Module):
    """A small transformer that predicts the pixels of all patches from those that were shown (section 3).

    Parameters
    ----------
    width : int
        Of the encoder's tokens.
    dim, depth, heads : int
        The transformer's.
    outputs : int
        Pixels of a patch times channels.
    """

    def __init__(self, width: int, dim: int, depth: int, heads: int, *, outputs: int) -> None:
        super().__init__()
        from timm.models.vision_transformer import Block

        self.embed = nn.Linear(width, dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.blocks = nn.Sequential(*(Block(dim, heads, qkv_bias=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.predict = nn.Linear(dim, outputs)

    def forward(self, shown: Tensor, order: Tensor) -> Tensor:
        """Predicted patches.

        Parameters
        ----------
        shown : Tensor
            Shape (n, k, width): tokens of the first k patches of `order`.
        order : Tensor
            Int64 of shape (n, patches): a permutation of the patches of each image.

        Returns
        -------
        Tensor
            Shape (n, patches, outputs), row by row of the image.
        """
        embedded = self.embed(shown)
        hidden = self.mask_token.to(embedded.dtype).expand(len(order), order.shape[1] - shown.shape[1], -1)
        places = order.argsort(dim=1)[:, :, None].expand(-1, -1, embedded.shape[2])
        tokens = torch.cat([embedded, hidden], dim=1).gather(1, places)
        positions = to_device(sine_cosine(round(order.shape[1] ** 0.5), tokens.shape[2]), tokens.device).to(tokens)
        predicted: Tensor = self.predict(self.norm(self.blocks(tokens + positions)))
        return predicted


@cache
def sine_cosine(side: int, dim: int) -> Tensor:
    """Positions of side x side patches, shape (side * side, dim): sines and cosines of row and column.

    Vaswani et al. 2017, section 3.5, in two dimensions (He et al. 2022, appendix A.1): half of the `dim`, a
    multiple of 4, for each.
    """
    rates = 10_000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    angles = torch.arange(side, dtype=torch.float64)[:, None] * rates
    line = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows, columns = line[:, None].expand(-1, side, -1), line.expand(side, -1, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1).float()


def patches_of(images: Tensor, patch: int) -> Tensor:
    """Pixels of the patches, shape (n, patches, patch * patch * channels), row by row of the image."""
    n, channels, height, width = images.shape
    grid = images.reshape(n, channels, height // patch, patch, width // patch, patch)
    return grid.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


@in_float32
def reconstruction(predicted: Tensor, patches: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error on the hidden patches, each normalised by its own mean and deviation (section 3).

    Parameters
    ----------
    predicted, patches : Tensor
        Shape (n, patches, pixels).
    hidden : Tensor
        Bool of shape (n, patches).
    """
    target = patches.float()
    mean, var = target.mean(dim=2, keepdim=True), target.var(dim=2, keepdim=True)
    error = (predicted.float() - (target - mean) / (var + 1e-6).sqrt()).square().mean(dim=2)
    return (error * hidden).sum() / hidden.sum()
