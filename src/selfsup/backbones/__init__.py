"""Backbones: any timm network as a feature extractor, its initial weights, its stem."""
