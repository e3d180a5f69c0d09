"""The training curves of one cell: loss, spread, rank, similarities, accuracy and schedules by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from selfsup.figures.canvas import LIGHT, Save, Theme, label, new_figure, shorten, style_axes, to_png


@dataclass(frozen=True)
class Strip:
    """One panel below the loss: a name, and the columns of the log whose lines are in it."""

    name: str
    columns: tuple[str, ...]
    from_zero: bool = True


STRIPS = (
    Strip("embedding\nstd", ("embedding_std",)),
    Strip("effective\nrank", ("effective_rank",)),
    Strip("similarity", ("positive_similarity", "negative_similarity"), from_zero=False),
    Strip("kNN\naccuracy", ("knn_accuracy",), from_zero=False),
    Strip("learning\nrate", ("lr",)),
    Strip("momentum", ("momentum",), from_zero=False),
)
#: Heights in inches.
LOSS, STRIP, EDGES = 1.7, 0.8, 0.7


def loss_curve(log: Mapping[str, ArrayLike], *, title: str = "", theme: Theme = LIGHT, save: Save = to_png) -> bytes:
    """Draw a training log as PNG.

    Parameters
    ----------
    log : mapping of str to array_like of float, shape [E]
        Columns of ``training_log.csv``: ``epoch`` and ``loss``, and any of those of `STRIPS`. Losses
        that are not finite are marked as such; a column that holds no number is left out.
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
    logged = {name: np.asarray(values, float) for name, values in log.items()}
    columns = {name: np.where(np.isfinite(values), values, np.nan) for name, values in logged.items()}
    strips = [strip for strip in STRIPS if _known(strip, columns)]
    figure = new_figure(4.2, EDGES + LOSS + STRIP * len(strips), theme)
    panels = figure.subplots(
        1 + len(strips), 1, sharex=True, squeeze=False, height_ratios=[LOSS, *[STRIP] * len(strips)]
    )[:, 0]
    x = columns["epoch"]
    _panel(panels[0], "loss", theme)
    _line(panels[0], x, columns["loss"], theme.accent)
    _mark_not_finite(panels[0], x, columns["loss"], theme)
    for axes, strip in zip(panels[1:], strips, strict=True):
        _strip(axes, strip, columns, theme)
    figure.align_ylabels(panels)
    panels[-1].set_xlabel("epoch", **label(theme))
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    if title:
        figure.suptitle(shorten(title, 48), **label(theme, 9.5, weight="bold"), x=0.02, ha="left")
    return save(figure)


def _known(strip: Strip, columns: Mapping[str, NDArray[np.float64]]) -> list[str]:
    """Those of the strip's columns that hold a number."""
    return [name for name in strip.columns if name in columns and np.isfinite(columns[name]).any()]


def _strip(axes: Axes, strip: Strip, columns: Mapping[str, NDArray[np.float64]], theme: Theme) -> None:
    _panel(axes, strip.name, theme)
    known = _known(strip, columns)
    for name, colour in zip(known, (theme.accent, theme.muted), strict=False):
        _line(axes, columns["epoch"], columns[name], colour if len(known) > 1 else theme.muted)
    if len(known) > 1:
        axes.margins(y=0.4)
        ends = [columns[name][np.isfinite(columns[name])][-1] for name in known]
        _name_line(axes, columns, known[0], theme.accent, above=ends[0] >= ends[1])
        _name_line(axes, columns, known[1], theme.muted, above=ends[0] < ends[1])
    elif strip.from_zero:
        axes.set_ylim(0, 1.1 * max(np.nanmax(columns[known[0]]), 1e-12))


def _panel(axes: Axes, name: str, theme: Theme) -> None:
    style_axes(axes, theme)
    axes.set_ylabel(name, **label(theme))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))


def _line(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], colour: str) -> None:
    # A value that is not taken in every epoch is joined across those between.
    finite = np.isfinite(y)
    few = finite.sum() < 3
    axes.plot(x[finite], y[finite], color=colour, linewidth=1.8, marker="o" if few else None, solid_capstyle="round")


def _name_line(
    axes: Axes, columns: Mapping[str, NDArray[np.float64]], column: str, colour: str, *, above: bool
) -> None:
    """Write ``positive`` of ``positive_similarity`` at the end of its line."""
    last = np.flatnonzero(np.isfinite(columns[column]))[-1]
    axes.annotate(
        column.partition("_")[0],
        (columns["epoch"][last], columns[column][last]),
        xytext=(0, 3 if above else -3),
        textcoords="offset points",
        ha="right",
        va="bottom" if above else "top",
        fontsize=7,
        color=colour,
        parse_math=False,
    )


def _mark_not_finite(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], theme: Theme) -> None:
    broken = x[~np.isfinite(y)]
    if len(broken):
        axes.axvline(broken[0], color=theme.ink, linewidth=1, linestyle=(0, (2, 2)))
        axes.annotate(
            f"not finite at epoch {broken[0]:g} ",
            (broken[0], 1),
            xycoords=("data", "axes fraction"),
            ha="right",
            va="top",
            **label(theme, 8),
        )
