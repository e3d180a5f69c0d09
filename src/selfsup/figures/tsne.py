"""The t-SNE map of one cell as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from selfsup.figures.canvas import LIGHT, MARKERS, Marker, Save, Theme, group_styles, label, new_figure, shorten, to_png

ROWS_OF_LEGEND = 25


def tsne_picture(
    points: NDArray[np.floating],
    groups: NDArray[np.integer],
    names: Sequence[str],
    *,
    wrong: NDArray[np.bool_] | None = None,
    title: str = "",
    theme: Theme = LIGHT,
    save: Save = to_png,
) -> bytes:
    """Draw a map as PNG, coloured by class (or by cluster where there are no labels).

    Parameters
    ----------
    points : array of float, shape [N, 2]
        Positions; rows with NaN are not on the map.
    groups : array of int, shape [N]
        Index into `names`; -1 for none.
    names : sequence of str
        Class or cluster names; any text. Up to 100 look different (ten colours, ten markers)
        and have a name beside the map; of more, 20.
    wrong : array of bool, shape [N], optional
        Points with a wrong prediction: those 20 are the ones with the most of them, else with the most points.
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
    placed = np.isfinite(points).all(axis=1)
    styles = group_styles(groups[placed], None if wrong is None else wrong[placed])
    points, groups = points[placed], groups[placed]
    others = sorted({*groups[groups >= 0].tolist()} - {*styles})
    layers: list[tuple[list[int], str, str, Marker]] = [
        (others, f"{len(others):,} others", theme.muted, MARKERS[0]),
        ([-1], "no class", theme.muted, MARKERS[0]),
        *(([group], shorten(names[group], 22), *style) for group, style in styles.items()),
    ]
    shown = [layer for layer in layers if np.isin(groups, layer[0]).any()]
    columns = math.ceil(len(shown) / ROWS_OF_LEGEND)
    figure = new_figure(5.4 + 1.6 * columns, 5.0, theme)
    axes = figure.subplots()
    axes.set_facecolor(theme.paper)
    size = float(np.interp(len(points), [50, 500, 5000], [36, 16, 5]))
    handles = []
    for members, name, colour, shape in shown:
        here = points[np.isin(groups, members)]
        axes.scatter(
            here[:, 0],
            here[:, 1],
            s=size,
            c=colour,
            marker=shape.matplotlib,
            alpha=0.85,
            edgecolors=theme.paper,
            linewidths=0.3,
        )
        handles.append(Line2D([], [], linestyle="", marker=shape.matplotlib, color=colour, markersize=5.5, label=name))
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(theme.line)
    if handles:
        _legend_beside(figure, handles, columns, theme)
    axes.set_title(shorten(title or "t-SNE of the embeddings", 60), **label(theme, 10), loc="left")
    return save(figure)


def _legend_beside(figure: Figure, handles: list[Line2D], columns: int, theme: Theme) -> None:
    legend = figure.legend(
        handles=handles,
        loc="outside right upper",
        ncols=columns,
        frameon=False,
        fontsize=8 if columns == 1 else 6.5,
        labelcolor=theme.ink,
        handletextpad=0.3,
        columnspacing=1.0,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
