"""The confusion matrix of one cell."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import ArrayLike

from selfsup.figures.canvas import LIGHT, Save, Theme, add_colour_bar, label, name_ticks, new_figure, shorten, to_png

MOST_CLASSES_WITH_COUNTS = 20
#: More could not be read, and take seconds to draw.
MOST_NAMES = 100


def confusion_matrix(
    counts: ArrayLike, classes: Sequence[str], *, title: str = "", theme: Theme = LIGHT, save: Save = to_png
) -> bytes:
    """Draw a confusion matrix as PNG: rows are true classes, shaded by their share of the row.

    Parameters
    ----------
    counts : array_like of int, shape [C, C]
        Images of true class i that were predicted as class j. Up to 20 classes, the numbers are
        written into the squares; of more than 100, some are named.
    classes : sequence of str, length C
        Class names; any text.
    title : str
        Any text; drawn as it stands.
    theme : Theme
        Colours.
    save : callable
        What becomes of the figure: :func:`to_png` or :func:`to_pdf`.

    Returns
    -------
    bytes
        What `save` returns.
    """
    matrix = np.asarray(counts, dtype=np.int64)
    n = len(matrix)
    totals = matrix.sum(axis=1, keepdims=True)
    share = matrix / np.maximum(totals, 1)
    side = min(3.0 + 0.3 * n, 13.0)
    figure = new_figure(side + 0.9, side, theme)
    axes = figure.subplots()
    scale = LinearSegmentedColormap.from_list("paper-accent", [theme.paper, theme.accent])
    image = axes.imshow(share, cmap=scale, vmin=0, vmax=1)
    text_size = float(np.interp(n, [10, 40, 100], [8.5, 7, 5]))
    short = [shorten(name, 20) for name in classes]
    name_ticks(axes, short, short, every=math.ceil(n / MOST_NAMES), color=theme.ink, fontsize=text_size)
    axes.tick_params(axis="x", rotation=90 if max(map(len, short), default=0) > 3 else 0)
    axes.set_xlabel("predicted class", **label(theme))
    axes.set_ylabel("true class", **label(theme))
    axes.spines[:].set_color(theme.line)
    if n <= MOST_CLASSES_WITH_COUNTS:
        for row, column in np.argwhere(matrix > 0):
            colour = theme.paper if share[row, column] > 0.5 else theme.ink
            axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour, fontsize=8)
    place = {"shrink": min(0.6, 3.5 / side), "aspect": 24}
    add_colour_bar(figure, [axes], image, "share of the true class", theme, **place)
    if title:
        axes.set_title(shorten(title, 60), **label(theme, 10), loc="left")
    return save(figure)
