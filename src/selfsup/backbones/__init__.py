"""Backbones: any timm network as a feature extractor, its initial weights, its stem."""

from selfsup.backbones.backbone import Backbone, Tokens
from selfsup.backbones.networks import Normalisation, build_backbone, list_backbones, published_backbone, takes_side
from selfsup.backbones.weights import load_weights, require_model, unobtainable, weights_at, weights_file

__all__ = [
    "Backbone",
    "Normalisation",
    "Tokens",
    "build_backbone",
    "list_backbones",
    "load_weights",
    "published_backbone",
    "require_model",
    "takes_side",
    "unobtainable",
    "weights_at",
    "weights_file",
]
