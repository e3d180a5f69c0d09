"""What a picture is made of: its lines, squares, words and colours, after it was laid out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from selfsup.figures.canvas import to_png

#: Names that markup, mathematics, a terminal or a font may stumble over.
HOSTILE = ["<b>", "$x_{$", "_hidden", "a\nb\tc", "\udcff", "日本語", "{}@{x}", "\\frac", "x" * 300, ""]


def drawn(picture: Callable[..., bytes], *values: Any, **options: Any) -> Figure:
    """The figure behind a picture, which was also drawn as PNG."""
    kept: list[Figure] = []

    def keep(figure: Figure) -> bytes:
        kept.append(figure)
        return to_png(figure)

    assert picture(*values, save=keep, **options).startswith(b"\x89PNG")
    return kept[0]


def points(line: Line2D) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in zip(*line.get_data(), strict=True)]


def words(axes: Axes) -> list[str]:
    """What is written within the axes, ticks and title aside."""
    return [text.get_text() for text in axes.texts]


def ticks(axes: Axes) -> tuple[list[str], list[str]]:
    """Names along x and along y."""
    return [t.get_text() for t in axes.get_xticklabels()], [t.get_text() for t in axes.get_yticklabels()]


def colours(values: Any) -> list[str]:
    return [to_hex(colour) for colour in np.atleast_2d(values)]
