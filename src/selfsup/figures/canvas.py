"""Paper, ink and palette: what every picture shares.

Pictures are drawn through matplotlib's object interface, which keeps no global state, so
hundreds of cells can be drawn in one process. Text is never parsed as mathematics: a class may
be called ``$x``.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image

from selfsup.data.items import set_names

DPI = 160
#: Most groups of a map that a legend names, for so many look different; and how many it names of more.
MOST_NAMED, NAMED_OF_MORE = 100, 20
# It warns of every letter that is drawn in another weight than asked for.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
#: Fonts with the letters of East Asia, as they are called on Linux, macOS and Windows.
FALLBACK_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "IPAGothic", "Hiragino Sans", "PingFang SC",
    "Apple SD Gothic Neo", "Arial Unicode MS", "Yu Gothic", "Microsoft YaHei", "Malgun Gothic",
)  # fmt: skip


@dataclass(frozen=True)
class Theme:
    """Colours of one picture, as hexadecimal text."""

    paper: str
    ink: str
    muted: str
    line: str
    accent: str


LIGHT = Theme(paper="#ffffff", ink="#1b1f24", muted="#5d6671", line="#d5dae0", accent="#1f5f99")
DARK = Theme(paper="#14171b", ink="#e7eaee", muted="#9aa4af", line="#343b44", accent="#7db8ea")

# Petroff, "Accessible color sequences for data visualization", arXiv:2107.02270: ten colours
# that stay apart under the common kinds of colour blindness.
PALETTE = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip


@dataclass(frozen=True)
class Marker:
    """One shape, as matplotlib, Bokeh and a line of text call it."""

    matplotlib: Any
    bokeh: str
    text: str


MARKERS = (
    Marker("o", "circle", "●"),
    Marker("s", "square", "■"),
    Marker("^", "triangle", "▲"),
    Marker("D", "diamond", "◆"),
    Marker("v", "inverted_triangle", "▼"),
    Marker("P", "plus", "✚"),
    Marker("*", "star", "★"),
    Marker("h", "hex", "⬢"),
    Marker((4, 1, 0), "square_pin", "✦"),
    Marker((3, 1, 0), "triangle_pin", "△"),
)


def series_style(index: int) -> tuple[str, Marker]:
    """Colour and marker of the `index`-th series; 100 differ before one repeats."""
    return PALETTE[index % len(PALETTE)], MARKERS[index // len(PALETTE) % len(MARKERS)]


def group_styles(
    groups: NDArray[np.integer[Any]], wrong: NDArray[np.bool_] | None = None
) -> dict[int, tuple[str, Marker]]:
    """Colour and marker of each group of a map that a legend names, in its order: all, or of more than 100 only 20.

    Parameters
    ----------
    groups : array of int, shape (n,)
        Of each point; those below 0 are none.
    wrong : array of bool, shape (n,), optional
        Points with a wrong prediction. Of many groups, those with the most of them are named, then those with the most
        points.
    """
    present, places, counts = np.unique(groups[groups >= 0], return_inverse=True, return_counts=True)
    if len(present) <= MOST_NAMED:
        return {group: series_style(group) for group in present.tolist()}
    mistakes = np.bincount(places, None if wrong is None else wrong[groups >= 0])
    first = present[np.lexsort((-counts, -mistakes))[:NAMED_OF_MORE]]
    return {group: series_style(place) for place, group in enumerate(first.tolist())}


def shown_groups(
    true: NDArray[Any], predicted: NDArray[Any], classes: Sequence[str]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The number of each image's group on a map, and the groups' names.

    Parameters
    ----------
    true, predicted : array of int64, shape (n,), or bool, shape (n, labels)
    classes : sequence of str
        Empty without labels: the groups are then the clusters that are predicted. Else they are the true classes; or
        the sets of labels, where images may have several.
    """
    if not classes:
        return predicted, tuple(f"cluster {number + 1}" for number in range(int(predicted.max()) + 1))
    if true.ndim == 1:
        return true, tuple(classes)
    sets, numbers = np.unique(true, axis=0, return_inverse=True)
    return numbers, set_names(sets, classes)


def new_figure(width: float, height: float, theme: Theme) -> Figure:
    """An empty figure of `width` by `height` inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=theme.paper, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def style_axes(axes: Axes, theme: Theme) -> None:
    """Give `axes` the theme's colours, no frame, and quiet horizontal grid lines."""
    axes.set_facecolor(theme.paper)
    axes.tick_params(colors=theme.muted, labelsize=8, length=0, which="both")
    axes.spines[:].set_visible(False)
    axes.grid(axis="y", color=theme.line, linewidth=0.7, which="major")
    axes.set_axisbelow(True)


def label(theme: Theme, size: float = 9, **more: Any) -> dict[str, Any]:
    """Text properties of a label: the theme's ink, no mathematics."""
    return {"color": theme.ink, "fontsize": size, "parse_math": False, **more}


def name_ticks(axes: Axes, x: Sequence[str], y: Sequence[str], **text: Any) -> None:
    """Put names at the positions 0, 1, 2, … of both axes, without tick marks."""
    axes.set_xticks(range(len(x)), x, parse_math=False, **text)
    axes.set_yticks(range(len(y)), y, parse_math=False, **text)
    axes.tick_params(length=0)


def add_colour_bar(
    figure: Figure, axes: list[Axes], scale: ScalarMappable, name: str, theme: Theme, **place: Any
) -> None:
    """Put the scale of colours beside `axes`, without a frame."""
    bar = figure.colorbar(scale, ax=axes, **place)
    bar.set_label(name, **label(theme, 8))
    bar.ax.tick_params(colors=theme.muted, labelsize=7.5, length=0)
    bar.outline.set_visible(False)  # type: ignore[operator]


def shorten(name: str, length: int = 24) -> str:
    """`name` on one line in at most `length` characters, an ellipsis in its middle if cut."""
    flat = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)
    if len(flat) <= length:
        return flat
    head = (length - 1) // 2
    return flat[: length - 1 - head] + "…" + flat[len(flat) - head :]


def accuracy_colour(value: float) -> tuple[str, str]:
    """Background and readable text colour of an accuracy in [0, 1], on one scale everywhere.

    The map is viridis: perceptually uniform, ordered in lightness, safe for colour blindness.
    """
    rgba = matplotlib.colormaps["viridis"](float(min(max(value, 0), 1)))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgba[:3])
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    # WCAG 2 contrast: black wins above a relative luminance of 0.179.
    text = "#000000" if luminance > 0.179 else "#ffffff"
    return matplotlib.colors.to_hex(rgba), text


@cache
def _families() -> list[str]:
    """Installed fonts that have the letters which matplotlib's own lacks."""
    installed = set(font_manager.get_font_names())
    return [name for name in FALLBACK_FONTS if name in installed]


#: What becomes of a drawn figure.
Save = Callable[[Figure], bytes]


@contextmanager
def any_letters(figure: Figure) -> Iterator[None]:
    """Draw letters with whichever installed font has them, and boxes where none has."""
    for text in figure.findobj(Text):
        text.set_fontfamily([*text.get_fontfamily(), *_families()])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield


def to_pdf(figure: Figure) -> bytes:
    """The figure as a PDF of one page, in vectors, its text as text."""
    content = io.BytesIO()
    with any_letters(figure), matplotlib.rc_context({"pdf.fonttype": 42}):
        figure.savefig(content, format="pdf", facecolor=figure.get_facecolor(), metadata={"CreationDate": None})
    return content.getvalue()


def to_png(figure: Figure) -> bytes:
    """The figure as PNG bytes."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    with any_letters(figure):
        canvas.draw()  # once, where savefig draws twice and encodes what is decoded again below
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    # 256 colours halve the size of a picture; hundreds of cells have three each.
    compact = io.BytesIO()
    pixels.quantize(256, dither=Image.Dither.NONE).save(compact, format="PNG", dpi=(DPI, DPI))
    return compact.getvalue()
