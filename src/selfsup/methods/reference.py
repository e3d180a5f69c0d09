"""Reference: a network as somebody else left it, at its own input size; no training."""

from __future__ import annotations

from selfsup.config.grid import Tags
from selfsup.methods import base


class Reference(base.Method):
    """The networks of ``--references``: what the best published features give without any training on these images."""

    paper = base.Paper(
        "Kornblith, Shlens, Le", 2019, "Do Better ImageNet Models Transfer Better?", "https://arxiv.org/abs/1805.08974"
    )
    tags = Tags(trains=False, of_references=True)
