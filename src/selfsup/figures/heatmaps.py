"""The figure of the study: accuracy over learning rate and images per class, panel by panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from selfsup.figures.canvas import (
    LIGHT,
    Save,
    Theme,
    accuracy_colour,
    add_colour_bar,
    label,
    name_ticks,
    new_figure,
    shorten,
    to_png,
)

TITLE, CHOSEN = "Test {0} of every cell", "; learning rates are chosen on validation {0}"
UNFINISHED = {"diverged": "div", "collapsed": "col", "failed": "fail", "pruned": "prun"}


@dataclass(frozen=True)
class Square:
    """One square of a panel: the cells of one learning rate and size, over the seeds.

    Attributes
    ----------
    mean : float or None
        Mean test score of the finished seeds, 0 to 1; None where none finished.
    sd : float or None
        Standard deviation over the seeds; None for fewer than two.
    status : str
        ``"done"`` if any seed finished, else one of `UNFINISHED`, or ``""`` where nothing has
        run.
    chosen : bool
        True at the learning rate chosen on validation.
    cell : str
        Id of one of its cells, ``""`` for none.
    """

    mean: float | None = None
    sd: float | None = None
    status: str = ""
    chosen: bool = False
    cell: str = ""

    @property
    def text(self) -> str:
        """What is written into the square."""
        if self.mean is None:
            return UNFINISHED.get(self.status, "")
        return f"{self.mean:.2f}".removeprefix("0") if self.mean < 0.995 else f"{self.mean:.2f}"

    @property
    def spread(self) -> str:
        """The standard deviation as written below the mean, or nothing."""
        return "" if self.sd is None else f"±{self.sd:.2f}".replace("±0.", "±.")


@dataclass(frozen=True)
class Panel:
    """One method under one augmentation: `squares` by learning rate (rows), then size."""

    method: str
    augmentation: str
    lrs: tuple[str, ...]
    sizes: tuple[str, ...]
    squares: tuple[tuple[Square, ...], ...]


def heatmaps(
    panels: Sequence[Panel],
    *,
    score: str = "accuracy",
    size: str = "images per class",
    theme: Theme = LIGHT,
    save: Save = to_png,
) -> bytes:
    """Draw the panels as PNG, methods in rows and augmentations in columns, on one 0–1 scale of the `score`.

    A frame marks the learning rate chosen on validation; cells that diverged, collapsed or failed
    say so. With several seeds, each square holds the mean and the standard deviation.
    """
    methods = list(dict.fromkeys(panel.method for panel in panels))
    augmentations = list(dict.fromkeys(panel.augmentation for panel in panels))
    columns = max((len(panel.sizes) for panel in panels), default=1)
    rows = max((len(panel.lrs) for panel in panels), default=1)
    figure = new_figure(
        1.6 + len(augmentations) * (0.9 + 0.46 * columns), 1.0 + len(methods) * (0.75 + 0.3 * rows), theme
    )
    grid = figure.subplots(len(methods), len(augmentations), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for panel in panels:
        axes = grid[methods.index(panel.method), augmentations.index(panel.augmentation)]
        _draw_panel(axes, panel, theme)
    for axes in grid[-1]:
        axes.set_xlabel(size, **label(theme, 8))
    for axes in grid[:, 0]:
        axes.set_ylabel("learning rate", **label(theme, 8))
    scale = ScalarMappable(Normalize(0, 1), "viridis")
    place = {"shrink": min(1.0, 3.0 / figure.get_figheight()), "aspect": 28, "pad": 0.02}
    add_colour_bar(figure, grid.ravel().tolist(), scale, f"test {score}", theme, **place)
    chosen = any(square.chosen for panel in panels for row in panel.squares for square in row)
    figure.suptitle((TITLE + CHOSEN * chosen).format(score), **label(theme, 9.5), x=0.01, ha="left")
    return save(figure)


def _draw_panel(axes: Axes, panel: Panel, theme: Theme) -> None:
    axes.set_axis_on()
    axes.set_facecolor(theme.paper)
    axes.set(xlim=(-0.5, len(panel.sizes) - 0.5), ylim=(len(panel.lrs) - 0.5, -0.5))
    for y, row in enumerate(panel.squares):
        for x, square in enumerate(row):
            _draw_square(axes, x, y, square, theme)
    for artist in (*axes.texts, *axes.patches):
        artist.set_in_layout(False)  # they lie within the axes, and measuring thousands of them takes long
    name_ticks(axes, panel.sizes, panel.lrs, color=theme.ink, fontsize=8)
    axes.spines[:].set_visible(False)
    axes.set_title(
        f"{shorten(panel.method)} · {shorten(panel.augmentation)}",
        **label(theme, 9.5, weight="bold"),
        loc="left",
    )


def _draw_square(axes: Axes, x: int, y: int, square: Square, theme: Theme) -> None:
    corner = (x - 0.47, y - 0.46)
    if square.mean is not None:
        fill, ink = accuracy_colour(square.mean)
        axes.add_patch(Rectangle(corner, 0.94, 0.92, facecolor=fill, linewidth=0))
        text = f"{square.text}\n{square.spread}" if square.spread else square.text
        axes.text(x, y, text, ha="center", va="center", fontsize=6.5 if square.spread else 8, color=ink)
    else:
        hatch = "////" if square.status else None
        axes.add_patch(
            Rectangle(corner, 0.94, 0.92, facecolor="none", edgecolor=theme.line, linewidth=0.5, hatch=hatch)
        )
        axes.text(x, y, square.text, ha="center", va="center", fontsize=7, color=theme.ink)
    if square.chosen:
        # A light line inside a dark one stays visible on every colour of the scale.
        frame: dict[str, Any] = {"facecolor": "none", "joinstyle": "miter"}
        axes.add_patch(Rectangle((x - 0.42, y - 0.39), 0.84, 0.78, edgecolor=theme.paper, linewidth=1.2, **frame))
        axes.add_patch(Rectangle((x - 0.45, y - 0.44), 0.90, 0.88, edgecolor=theme.ink, linewidth=1.8, **frame))
