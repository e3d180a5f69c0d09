"""Frozen: the initial weights as they are, no training; with ImageNet weights, their features."""

from __future__ import annotations

from selfsup.config.grid import Tags
from selfsup.methods import base


class Frozen(base.Method):
    """The baseline of transfer without training (Kornblith et al. 2019, linear features)."""

    paper = base.Paper(
        "Kornblith, Shlens, Le", 2019, "Do Better ImageNet Models Transfer Better?", "https://arxiv.org/abs/1805.08974"
    )
    tags = Tags(trains=False, without_weights="random")
