"""The confusion matrix of one cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from selfsup.evaluation.confusions import Confusions
from selfsup.figures.canvas import LIGHT, Save, Theme, add_colour_bar, label, name_ticks, new_figure, shorten, to_png

MOST_CLASSES_WITH_COUNTS = 20


def confusion_matrix(
    confusions: Confusions, classes: Sequence[str], *, title: str = "", theme: Theme = LIGHT, save: Save = to_png
) -> bytes:
    """Draw a confusion matrix as PNG: rows are true classes, shaded by their share of the row.

    Parameters
    ----------
    confusions : Confusions
        Up to 20 classes, the numbers are written into the squares; of more than 100, the 30 with the most confusions
        are drawn, and their rows do not add up to 1.
    classes : sequence of str
        Names of all classes; any text.
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
    drawn = confusions.drawn(len(classes))
    matrix, n = confusions.among(drawn), len(drawn)
    share = matrix / np.maximum(confusions.totals(len(classes))[drawn, None], 1)
    side = min(3.0 + 0.3 * n, 13.0)
    figure = new_figure(side + 0.9, side, theme)
    axes = figure.subplots()
    scale = LinearSegmentedColormap.from_list("paper-accent", [theme.paper, theme.accent])
    image = axes.imshow(share, cmap=scale, vmin=0, vmax=1)
    text_size = float(np.interp(n, [10, 40, 100], [8.5, 7, 5]))
    short = [shorten(classes[number], 20) for number in drawn]
    name_ticks(axes, short, short, color=theme.ink, fontsize=text_size)
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
