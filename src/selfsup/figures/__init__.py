"""Pictures and maps of a study: values in, PNG bytes or HTML text out; no files are touched."""

from selfsup.figures.canvas import DARK, LIGHT, Save, Theme, accuracy_colour, cluster_names, to_pdf, to_png
from selfsup.figures.confusion import confusion_matrix
from selfsup.figures.curves import Curve, accuracy_curves
from selfsup.figures.heatmaps import Panel, Square, heatmaps
from selfsup.figures.interactive import Map, bokeh_script, map_fragment, tsne_page
from selfsup.figures.loss import loss_curve
from selfsup.figures.projection import Components, map_rows, principal_components, project
from selfsup.figures.thumbnails import Sheet, sheet_for, thumbnail_sheet
from selfsup.figures.tsne import tsne_picture

__all__ = [
    "DARK",
    "LIGHT",
    "Components",
    "Curve",
    "Map",
    "Panel",
    "Save",
    "Sheet",
    "Square",
    "Theme",
    "accuracy_colour",
    "accuracy_curves",
    "bokeh_script",
    "cluster_names",
    "confusion_matrix",
    "heatmaps",
    "loss_curve",
    "map_fragment",
    "map_rows",
    "principal_components",
    "project",
    "sheet_for",
    "thumbnail_sheet",
    "to_pdf",
    "to_png",
    "tsne_page",
    "tsne_picture",
]
