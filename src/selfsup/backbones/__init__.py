"""Backbones: any timm network as a feature extractor, its initial weights, its stem."""

from selfsup.backbones.backbone import Backbone, Tokens
from selfsup.backbones.networks import (
    Normalisation,
    build_backbone,
    has_own_size,
    list_backbones,
    published_backbone,
    published_side,
    takes_side,
)
from selfsup.backbones.weights import (
    describe_normalisation,
    load_weights,
    repository_of,
    require_model,
    require_published,
    takes_weights_of,
    unobtainable,
    weights_at,
    weights_file,
)

__all__ = [
    "Backbone",
    "Normalisation",
    "Tokens",
    "build_backbone",
    "describe_normalisation",
    "has_own_size",
    "list_backbones",
    "load_weights",
    "published_backbone",
    "published_side",
    "repository_of",
    "require_model",
    "require_published",
    "takes_side",
    "takes_weights_of",
    "unobtainable",
    "weights_at",
    "weights_file",
]
