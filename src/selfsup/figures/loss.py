"""The training curve of one cell: loss and embedding spread, epoch by epoch."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from selfsup.figures.canvas import LIGHT, Theme, label, new_figure, shorten, style_axes, to_png


def loss_curve(
    epoch: ArrayLike,
    loss: ArrayLike,
    embedding_std: ArrayLike | None = None,
    *,
    title: str = "",
    theme: Theme = LIGHT,
) -> bytes:
    """Draw a training log as PNG.

    Parameters
    ----------
    epoch : array_like of float, shape [E]
        Epochs, from 1.
    loss : array_like of float, shape [E]
        Mean training loss of each epoch; values that are not finite are marked as such.
    embedding_std : array_like of float, shape [E], optional
        Standard deviation of the normalised embeddings; near 0 means collapse. Left out of the
        picture where it holds no number.
    title : str
        Any text; drawn as it stands.
    theme : Theme
        Colours.

    Returns
    -------
    bytes
        A PNG image.
    """
    x, y = np.asarray(epoch, float), np.asarray(loss, float)
    spread = np.asarray([] if embedding_std is None else embedding_std, float)
    has_spread = bool(np.isfinite(spread).any())
    figure = new_figure(4.2, 3.4 if has_spread else 2.5, theme)
    panels = figure.subplots(
        2 if has_spread else 1, 1, sharex=True, squeeze=False, height_ratios=[2, 1] if has_spread else [1]
    )[:, 0]
    _line(panels[0], x, y, "loss", theme.accent, theme)
    _mark_not_finite(panels[0], x, y, theme)
    if has_spread:
        _line(panels[1], x, spread, "embedding\nstd", theme.muted, theme)
        panels[1].set_ylim(bottom=0)
        figure.align_ylabels(panels)
    panels[-1].set_xlabel("epoch", **label(theme))
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    if title:
        figure.suptitle(shorten(title, 48), **label(theme, 9.5, weight="bold"), x=0.02, ha="left")
    return to_png(figure)


def _line(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], name: str, colour: str, theme: Theme) -> None:
    style_axes(axes, theme)
    finite = np.where(np.isfinite(y), y, np.nan)
    few = len(x) < 3
    axes.plot(x, finite, color=colour, linewidth=1.8, marker="o" if few else None, solid_capstyle="round")
    axes.set_ylabel(name, **label(theme))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))


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
