"""Random: an untrained backbone, what the architecture alone gives."""

from __future__ import annotations

from selfsup.config.grid import Tags
from selfsup.methods import base


class Random(base.Method):
    """The floor: random features (Jarrett et al. 2009). Starts untrained whatever weights are given."""

    paper = base.Paper(
        "Jarrett, Kavukcuoglu, Ranzato, LeCun",
        2009,
        "What is the Best Multi-Stage Architecture for Object Recognition?",
        "https://doi.org/10.1109/ICCV.2009.5459469",
    )
    tags = Tags(trains=False, keeps_weights=False)
