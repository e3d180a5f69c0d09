"""The t-SNE map as a page: hover for the image, click a class to hide it. Nothing is fetched.

Names come from folders and files and are hostile until shown otherwise: they reach the page
through Jinja's autoescape, or as JSON whose ``<``, ``>``, ``&`` and ``'`` are written as escapes,
or as Bokeh column values, which Bokeh escapes and never reads as a template.
"""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from bokeh.core.types import ID
from bokeh.embed import json_item
from bokeh.models import CDSView, ColumnDataSource, HoverTool, IndexFilter
from bokeh.plotting import figure
from bokeh.resources import Resources
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from numpy.typing import NDArray

from selfsup.figures.canvas import group_styles, series_style
from selfsup.figures.projection import Components
from selfsup.figures.thumbnails import Sheet

#: Side of a thumbnail beside the pointer, and of one among neighbours, in CSS pixels.
SHOWN_SIDE, NEIGHBOUR_SIDE = 96, 64

#: Stands for all groups that the legend does not name.
OTHERS = -2

#: Look of points of no group, and of groups that the legend does not name.
UNNAMED = ("#8a929b", series_style(0)[1])


@dataclass(frozen=True)
class Map:
    """What is on a map: one entry per point.

    Attributes
    ----------
    points : array of float32, shape [N, 2]
        Positions; finite.
    groups : array of int64, shape [N]
        Class (or cluster) of each point, index into `names`; -1 for none.
    names : tuple of str
        Class (or cluster) names; any text.
    files : tuple of str, length N
        File names; any text.
    predicted : array of int64, shape [N], optional
        Predicted class, index into `names`; None where there are no labels.
    confidence : array of float32, shape [N], optional
        Probability of the predicted class, 0 to 1.
    slots : array of int64, shape [N], optional
        Position of each point's thumbnail on `sheet`; -1 for none.
    sheet : Sheet, optional
        Geometry of the thumbnails; None where there are none.
    neighbours : array of int64, shape [N, K], optional
        The points nearest to each in the embedding, nearest first.
    components : Components, optional
        The other layout that the page can switch to.
    """

    points: NDArray[np.float32]
    groups: NDArray[np.int64]
    names: tuple[str, ...]
    files: tuple[str, ...]
    predicted: NDArray[np.int64] | None = None
    confidence: NDArray[np.float32] | None = None
    slots: NDArray[np.int64] | None = None
    sheet: Sheet | None = None
    neighbours: NDArray[np.int64] | None = None
    components: Components | None = None

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """True where the predicted class is not the true one, shape [N]."""
        if self.predicted is None:
            return np.zeros(len(self.groups), bool)
        return np.asarray(self.predicted != self.groups)


def map_fragment(data: Map, thumbnails: bytes | None = None) -> Markup:
    """The map as a piece of a page that holds BokehJS.

    Parameters
    ----------
    data : Map
        The points.
    thumbnails : bytes, optional
        The sheet, WebP, to carry in the page; without it, the page sets ``--thumbs`` itself.
    """
    template = _templates().get_template("map.html.j2")
    return Markup(
        template.render(
            item=json_item(_plot(data), ID("map-plot")),
            legend=_legend(data),
            wrong=int(data.wrong.sum()),
            explained=None if data.components is None else round(100 * data.components.explained),
            neighbours=None if data.neighbours is None else data.neighbours.tolist(),
            sheet=data.sheet if data.slots is not None else None,
            side=NEIGHBOUR_SIDE,
            shown_side=SHOWN_SIDE,
            thumbnails=base64.b64encode(thumbnails).decode() if thumbnails else "",
        )
    )


def tsne_page(data: Map, *, title: str, assets: str = "../../assets") -> str:
    """The map as a page of its own, which loads BokehJS and thumbnails from the folder `assets`.

    Parameters
    ----------
    data : Map
        The points.
    title : str
        Heading; any text.
    assets : str
        Relative address of the folder that holds ``bokeh.min.js`` and ``thumbnails.webp``.
    """
    template = _templates().get_template("map_page.html.j2")
    text = template.render(title=title, assets=assets, fragment=map_fragment(data), has_sheet=data.sheet is not None)
    # A file name that is not valid Unicode is shown with escapes: the page can always be encoded.
    return text.encode("utf-8", "backslashreplace").decode()


@cache
def bokeh_script() -> bytes:
    """BokehJS, as installed with the bokeh package."""
    return Resources(mode="inline", components=["bokeh"]).js_raw[0].encode()


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("selfsup.figures"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    # Bokeh reads a model where it first appears in the text, so the order of keys matters.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    return environment


def _plot(data: Map) -> Any:
    source = ColumnDataSource(_columns(data))
    everything = list(range(len(data.files)))
    plot = figure(
        tools="pan,box_zoom,wheel_zoom,reset",
        active_drag=None,
        active_scroll=None,
        match_aspect=True,
        sizing_mode="stretch_both",
        toolbar_location="above",
        background_fill_alpha=0,
        border_fill_alpha=0,
        outline_line_color=None,
    )
    plot.axis.visible = False
    plot.grid.visible = False
    plot.toolbar.logo = None
    size = float(np.interp(len(data.files), [100, 1000, 5000], [10, 7, 4.5]))
    style: dict[str, Any] = {"x": "x", "y": "y", "source": source}
    # Invisible, and never filtered: hiding a class must not move the rest of the map.
    plot.scatter(**style, size=size, fill_alpha=0, line_alpha=0)
    points = plot.scatter(
        **style,
        size=size,
        marker="marker",
        fill_color="colour",
        line_color="colour",
        fill_alpha=0.8,
        line_alpha=0.0,
        view=CDSView(filter=IndexFilter(indices=everything)),
        name="points",
    )
    plot.scatter(
        **style,
        size=size + 5,
        fill_color=None,
        line_color="#7d8691",
        line_width=1.4,
        view=CDSView(filter=IndexFilter(indices=np.flatnonzero(data.wrong).tolist())),
        name="rings",
    )
    plot.add_tools(HoverTool(renderers=[points], tooltips=_tooltip(data), attachment="horizontal", limit=1))
    return plot


def _columns(data: Map) -> dict[str, Any]:
    known = group_styles(data.groups, data.wrong)
    styles = [known.get(group, UNNAMED) for group in data.groups.tolist()]
    columns: dict[str, Any] = {
        "x": data.points[:, 0].astype(np.float32),
        "y": data.points[:, 1].astype(np.float32),
        "group": _keyed(data).astype(np.int32),
        "wrong": data.wrong.astype(np.uint8),
        "colour": [colour for colour, _ in styles],
        "marker": [marker.bokeh for _, marker in styles],
        "file": list(data.files),
        "group_name": [_name(data.names, g) for g in data.groups],
    }
    if data.components is not None:
        columns |= {f"component_{axis}": data.components.points[:, i] for i, axis in enumerate("xy")}
    if data.predicted is not None:
        columns["predicted"] = [_name(data.names, p) for p in data.predicted]
    if data.confidence is not None:
        columns["confidence"] = [f"{c:.2f}" for c in data.confidence]
    if data.slots is not None and data.sheet is not None:
        # A point without a thumbnail looks beside the sheet, where nothing is drawn.
        outside = data.sheet.columns * SHOWN_SIDE
        left, top = -(data.slots % data.sheet.columns), -(data.slots // data.sheet.columns)
        columns["left"] = np.where(data.slots >= 0, left * SHOWN_SIDE, outside).astype(np.int32)
        columns["top"] = np.where(data.slots >= 0, top * SHOWN_SIDE, 0).astype(np.int32)
    return columns


def _name(names: tuple[str, ...], group: int) -> str:
    return names[group] if group >= 0 else "none"


def _tooltip(data: Map) -> str:
    return _templates().get_template("tooltip.html.j2").render(
        side=SHOWN_SIDE,
        sheet=data.sheet if data.slots is not None else None,
        labelled=data.predicted is not None,
        confidence=data.confidence is not None,
    )  # fmt: skip


def _keyed(data: Map) -> NDArray[np.int64]:
    """The group by which each point is shown and hidden: its own, if the legend names that."""
    named = [-1, *group_styles(data.groups, data.wrong)]
    return np.where(np.isin(data.groups, named), data.groups, OTHERS)


def _legend(data: Map) -> list[dict[str, Any]]:
    known = group_styles(data.groups, data.wrong)
    counts = Counter(_keyed(data).tolist())
    entries = []
    for group in (-1, *known, OTHERS):
        colour, marker = known.get(group, UNNAMED)
        others = len(np.unique(data.groups[data.groups >= 0])) - len(known)
        name = _name(data.names, group) if group != OTHERS else f"{others:,} others"
        entry = {"group": group, "name": name, "count": counts[group], "colour": colour, "shape": marker.text}
        entries += [entry] * (group in counts)
    return entries
