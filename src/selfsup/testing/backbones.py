"""Tiny networks for the checks, a convolutional one and a transformer, for images of any channels and 16 pixels."""

from __future__ import annotations

from torch import nn

from selfsup.backbones import Backbone


def tiny_backbone(width: int = 24) -> Backbone:
    """A network of two convolutions for any size of image, from torch's global random state."""
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return Backbone(network, width, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), image_size=16)


def tiny_transformer(width: int = 24) -> Backbone:
    """Two blocks over patches of 4 pixels, from torch's global random state."""
    from timm.models.vision_transformer import VisionTransformer

    network = VisionTransformer(
        img_size=16, patch_size=4, embed_dim=width, depth=2, num_heads=2, num_classes=0, dynamic_img_size=True
    )
    return Backbone(network, width, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), image_size=16)
