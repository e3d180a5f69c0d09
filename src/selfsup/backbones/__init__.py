"""Backbones: any timm network as a feature extractor, its initial weights, its stem."""

from selfsup.backbones.backbone import Backbone, Tokens
from selfsup.backbones.networks import build_backbone, imagenet_backbone, list_backbones, takes_side
from selfsup.backbones.weights import WeightReport, load_weights, pretrained_file, require_weights_file

__all__ = [
    "Backbone",
    "Tokens",
    "WeightReport",
    "build_backbone",
    "imagenet_backbone",
    "list_backbones",
    "load_weights",
    "pretrained_file",
    "require_weights_file",
    "takes_side",
]
