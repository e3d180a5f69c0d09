"""Backbones: any timm network as a feature extractor, its initial weights, its stem."""

from selfsup.backbones.backbone import Backbone, Tokens
from selfsup.backbones.networks import build_backbone, imagenet_backbone, list_backbones, takes_side
from selfsup.backbones.weights import load_weights, require_weights_file, weights_file

__all__ = [
    "Backbone",
    "Tokens",
    "build_backbone",
    "imagenet_backbone",
    "list_backbones",
    "load_weights",
    "require_weights_file",
    "takes_side",
    "weights_file",
]
