"""A score against images per class: one line per method, baselines dashed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import ConnectionPatch
from matplotlib.ticker import NullLocator

from selfsup.figures.canvas import (
    LIGHT,
    MARKERS,
    PALETTE,
    Save,
    Theme,
    label,
    new_figure,
    shorten,
    style_axes,
    to_png,
)


@dataclass(frozen=True)
class Curve:
    """The scores of one method at its chosen settings.

    Attributes
    ----------
    name : str
        What the line is called; any text.
    sizes : tuple of float
        Images per class, above 0, ascending.
    scores : tuple of float
        On test at each size, 0 to 1.
    low, high : tuple of float
        Ends of the confidence band; NaN where there is none.
    baseline : bool
        True for a dashed line.
    """

    name: str
    sizes: tuple[float, ...]
    scores: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    baseline: bool = False


def score_curves(
    curves: Sequence[Curve],
    size_names: Mapping[float, str],
    *,
    score: str = "accuracy",
    unit: str = "training images per class",
    band: str = "",
    width: float = 7.4,
    theme: Theme = LIGHT,
    save: Save = to_png,
) -> bytes:
    """Draw the curves as PNG on a logarithmic axis, each named at its right end.

    Parameters
    ----------
    curves : sequence of Curve
        Lines; baselines are dashed and grey.
    size_names : mapping of float to str
        The ticks: each number of images per class and its name, for example ``{126.0: "all"}``.
    score : str
        What the scores are.
    unit : str
        What the sizes count.
    band : str
        What the shaded bands are; empty for none.
    width : float
        Width in inches, 3 or more.
    theme : Theme
        Colours.
    save : callable
        What becomes of the figure: :func:`to_png` or :func:`to_pdf`.
    """
    figure = new_figure(width, min(4.2, 0.75 * width + 0.6), theme)
    axes = figure.subplots()
    style_axes(axes, theme)
    axes.set_xscale("log")
    colours = _colours(curves, theme)
    for index, (curve, colour) in enumerate(zip(curves, colours, strict=True)):
        style = (0, (4, 2.5)) if curve.baseline else "-"
        marker = MARKERS[index % len(MARKERS)].matplotlib
        axes.plot(
            curve.sizes,
            curve.scores,
            color=colour,
            linestyle=style,
            marker=marker,
            linewidth=1.8,
            markersize=5,
        )
        alpha = 0.07 if curve.baseline else 0.14
        if np.isfinite(curve.low).any():
            axes.fill_between(curve.sizes, curve.low, curve.high, color=colour, alpha=alpha, linewidth=0)
    axes.set_xticks(list(size_names), _staggered(size_names, width), parse_math=False)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(f"{unit} (logarithmic)", **label(theme))
    axes.set_title(f"test {score}" + (f", {band} shaded" if band else ""), **label(theme), loc="left")
    _limits(axes, curves)
    _name_lines(axes, curves, colours, theme)
    return save(figure)


def _staggered(size_names: Mapping[float, str], width: float) -> list[str]:
    """Names of the ticks, lowered by a line where they would run into their left neighbour."""
    places = np.log(list(size_names))
    inches_per_unit = 0.7 * width / max(float(np.ptp(places)), 1e-9)
    names = list(size_names.values())
    for i in range(1, len(names)):
        close = (places[i] - places[i - 1]) * inches_per_unit < 0.3
        if close and not names[i - 1].startswith("\n"):
            names[i] = "\n" + names[i]
    return names


def _colours(curves: Sequence[Curve], theme: Theme) -> list[str]:
    coloured = [colour for colour in PALETTE if colour not in ("#94a4a2", "#717581")]
    names = [curve.name for curve in curves if not curve.baseline]
    return [theme.muted if curve.baseline else coloured[names.index(curve.name) % len(coloured)] for curve in curves]


def _limits(axes: Axes, curves: Sequence[Curve]) -> None:
    values = [v for curve in curves for v in (*curve.scores, *curve.low, *curve.high) if np.isfinite(v)]
    if values:
        margin = 0.05 * max(max(values) - min(values), 0.1)
        axes.set_ylim(max(0.0, min(values) - margin), min(1.0, max(values) + margin) + 0.01)


def _name_lines(axes: Axes, curves: Sequence[Curve], colours: Sequence[str], theme: Theme) -> None:
    """Write each name with its marker beside the last point of its line, pushed apart where they would overlap.

    What leads from the point to its name is no curve, and looks like none.
    """
    ends = [(curve.scores[-1], index) for index, curve in enumerate(curves) if curve.sizes]
    if not ends:
        return
    low, high = axes.get_ylim()
    for (_, index), y in zip(sorted(ends), spread([y for y, _ in sorted(ends)], 0.052 * (high - low)), strict=True):
        end, beside = (curves[index].sizes[-1], curves[index].scores[-1]), axes.get_yaxis_transform()
        grey: dict[str, Any] = {"color": theme.muted, "linewidth": 0.6, "linestyle": ":", "clip_on": False}
        axes.add_artist(ConnectionPatch(end, (1.025, y), axes.transData, beside, shrinkA=4, **grey))
        shape: dict[str, Any] = {"marker": MARKERS[index % len(MARKERS)].matplotlib, "markersize": 4, "linestyle": ""}
        axes.figure.add_artist(Line2D([1.035], [y], color=colours[index], transform=beside, **shape))
        axes.annotate(
            shorten(curves[index].name, 22),
            end,
            xytext=(1.055, y),
            textcoords=beside,
            va="center",
            annotation_clip=False,
            **label(theme, 8.5),
        )


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Move ascending `values` apart until neighbours are at least `gap` from each other.

    Clusters are spread about their own mean, so that a name stays near the end of its line.
    """
    clusters: list[list[float]] = []
    for value in values:
        clusters.append([value])
        while len(clusters) > 1 and _apart(clusters[-2], gap)[-1] + gap > _apart(clusters[-1], gap)[0]:
            last = clusters.pop()
            clusters[-1] += last
    return [place for cluster in clusters for place in _apart(cluster, gap)]


def _apart(cluster: Sequence[float], gap: float) -> list[float]:
    """As many places, `gap` apart, about the mean of the cluster."""
    return [float(np.mean(cluster)) + gap * (step - (len(cluster) - 1) / 2) for step in range(len(cluster))]
