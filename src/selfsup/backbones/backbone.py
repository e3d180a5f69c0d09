"""What a backbone is: images to embeddings, and for those who look inside, to tokens and levels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

#: How many of its last stages or blocks a network shows as levels.
LEVELS = 4


class Tokens(NamedTuple):
    """What a transformer makes of images.

    Attributes
    ----------
    prefix : Tensor
        Class and register tokens, shape (n, p, width); p may be 0.
    patches : Tensor
        Tokens of the patches, shape (n, k, width), row by row of the image, or those that were kept.
    """

    prefix: Tensor
    patches: Tensor


class Backbone(nn.Module):
    """A network from images to embeddings.

    Parameters
    ----------
    network : nn.Module
        From (n, in_channels, side, side), normalised, to (n, num_features).
    num_features : int
        Width of an embedding.
    mean, std : tuple of float, length in_channels
        Of the channels, for images in [0, 1].
    image_size : int
        Side in pixels of the images that it is built for, and evaluated on.

    Attributes
    ----------
    in_channels : int
    patch_size : int or None
        Side of a patch in pixels; None where the network has no tokens of patches, as a ResNet.
    is_transformer : bool
        Whether it is of the transformers' kind, with layer or RMS norms and no batch norm; recipes differ by it.
    undecayed : tuple of str
        Names, or ends of names, of the network's parameters that its authors exempt from weight decay.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        num_features: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        *,
        image_size: int,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.network = network
        self.num_features = num_features
        self.in_channels = len(mean)
        self.patch_size = _patch_size(network)
        self.is_transformer = _is_transformer(network)
        self.undecayed = tuple(getattr(network, "no_weight_decay", tuple)())
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings, shape (n, num_features), of images in [0, 1], shape (n, in_channels, side, side)."""
        return self.network(self.normalise(images))

    def normalise(self, images: Tensor) -> Tensor:
        """Images as the network wants them: zero mean and unit variance per channel of its training data."""
        return (images - self.mean) / self.std

    def tokens(self, images: Tensor, *, keep: Tensor | None = None) -> Tokens:
        """Tokens of images in [0, 1], after the network's last norm.

        Parameters
        ----------
        images : Tensor
            Shape (n, in_channels, side, side).
        keep : Tensor, optional
            Int64 of shape (n, k): of each image, the patches that the network sees, all by default. Those
            left out cost nothing (He et al. 2022, section 3).

        Raises
        ------
        TypeError
            If the network has no tokens of patches.
        """
        if self.patch_size is None:
            raise TypeError("this network has no tokens of patches")
        network: Any = self.network
        count = network.num_prefix_tokens
        tokens = network._pos_embed(network.patch_embed(self.normalise(images)))
        if keep is not None:
            kept = keep[:, :, None].expand(-1, -1, tokens.shape[-1])
            tokens = torch.cat([tokens[:, :count], tokens[:, count:].gather(1, kept)], dim=1)
        tokens = network.norm(network.blocks(network.norm_pre(tokens)))
        return Tokens(tokens[:, :count], tokens[:, count:])

    def pool(self, tokens: Tokens) -> Tensor:
        """The embedding, shape (n, num_features), that the network makes of its tokens."""
        network: Any = self.network
        return network.forward_head(torch.cat(tokens, dim=1), pre_logits=True)

    def patches(self, images: Tensor) -> Tensor:
        """What the embedding is pooled from: tokens of patches, or the pixels of the last feature map.

        Returns
        -------
        Tensor
            Shape (n, k, width), row by row of the image; `width` may differ from that of an embedding. A network that
            shows nothing of its inside has its embedding as the only patch.
        """
        if self.patch_size is not None:
            return self.tokens(images).patches
        network: Any = self.network
        if not hasattr(network, "forward_features"):
            return self(images)[:, None]
        features = network.forward_features(self.normalise(images))
        if features.dim() == 3:
            return features[:, getattr(network, "num_prefix_tokens", 0) :]
        last = getattr(network, "output_fmt", "NCHW") == "NHWC"
        return features.flatten(1, 2) if last else features.flatten(2).mT

    def levels(self, images: Tensor) -> list[Tensor]:
        """Pooled outputs of the last stages (of a transformer, blocks), the last one last.

        Returns
        -------
        list of Tensor
            At most four, of shape (n, width); widths may differ. A network that shows nothing of its inside
            has its embedding as the only level.
        """
        look = getattr(self.network, "forward_intermediates", None)
        if look is None:
            return [self(images)]
        maps = look(self.normalise(images), norm=True, intermediates_only=True)  # all: it may have fewer than LEVELS
        return [level.mean(dim=(2, 3)) for level in maps[-LEVELS:]]


@contextmanager
def replaced_calls(module: nn.Module, replace: Callable[[Backbone, str], Callable[..., Any]]) -> Iterator[None]:
    """Within, every backbone of `module` does for a batch of images what ``replace(backbone, name)`` gives.

    `name` is that of what is replaced: ``"forward"`` or ``"tokens"``.
    """
    backbones = [found for found in module.modules() if isinstance(found, Backbone)]
    calls = list(product(backbones, ("forward", "tokens")))
    for backbone, name in calls:
        vars(backbone)[name] = replace(backbone, name)  # the instance's own, which hides the class's method
    try:
        yield
    finally:
        for backbone, name in calls:
            del vars(backbone)[name]


def _is_transformer(network: nn.Module) -> bool:
    from timm.layers.norm import RmsNorm, RmsNorm2d

    kinds = (nn.LayerNorm, nn.RMSNorm, RmsNorm, RmsNorm2d, nn.BatchNorm2d)
    norms = [module for module in network.modules() if isinstance(module, kinds)]
    return bool(norms) and not any(isinstance(norm, nn.BatchNorm2d) for norm in norms)


def _patch_size(network: nn.Module) -> int | None:
    """Side of the patches of a plain vision transformer, whose tokens can be left out one by one.

    Not of one on top of a convolutional network, whose patches are those of that network's output.
    """
    from timm.layers.patch_embed import PatchEmbed
    from timm.models.vision_transformer import VisionTransformer

    plain = isinstance(network, VisionTransformer) and isinstance(network.patch_embed, PatchEmbed)
    return int(network.patch_embed.patch_size[0]) if plain else None  # type: ignore[union-attr,index]
