"""Pictures for the page, each drawn for light and dark, as data addresses."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from PIL import Image

from selfsup.config.grid import format_lr
from selfsup.figures.canvas import DARK, DPI, LIGHT, Theme
from selfsup.figures.confusion import confusion_matrix
from selfsup.figures.curves import accuracy_curves
from selfsup.figures.heatmaps import Panel, heatmaps
from selfsup.figures.loss import loss_curve
from selfsup.report.findings import Answer, Choice
from selfsup.report.recorded import RecordedStudy, StoredEmbeddings
from selfsup.report.series import Chart, chosen_trainings

NARROW_SCREEN = 3.9


@dataclass(frozen=True)
class ReportPicture:
    """One picture of the page.

    Attributes
    ----------
    alt : str
        What it shows, in words.
    light, dark : str
        ``data:`` addresses.
    width, height : int
        Size at which it is meant to be seen, in CSS pixels.
    narrow : mapping of str to str
        ``light`` and ``dark`` for a narrow screen; may be empty.
    """

    alt: str
    light: str
    dark: str
    width: int
    height: int
    narrow: Mapping[str, str] = field(default_factory=dict)


def data_address(content: bytes, kind: str) -> str:
    """`content` as a ``data:`` address of the media type `kind`."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def in_both_themes(draw: Callable[[Theme], bytes], alt: str) -> ReportPicture:
    """The picture that `draw` makes of a theme, in light and dark."""
    light, dark = draw(LIGHT), draw(DARK)
    width, height = Image.open(io.BytesIO(light)).size
    # Drawn at 160 dots per inch, seen at 96, as CSS counts.
    scale = 96 / DPI
    png = "image/png"
    return ReportPicture(
        alt, data_address(light, png), data_address(dark, png), round(width * scale), round(height * scale)
    )


def for_both_screens(draw: Callable[..., bytes], alt: str) -> ReportPicture:
    """The picture that `draw` makes of a theme, in its own width and in that of a narrow screen."""
    wide = in_both_themes(lambda theme: draw(theme=theme), alt)
    narrow = in_both_themes(lambda theme: draw(theme=theme, width=NARROW_SCREEN), alt)
    return replace(wide, narrow={"light": narrow.light, "dark": narrow.dark})


def curves_picture(chart: Chart) -> ReportPicture:
    """Accuracy against images (or labels) per class, for wide and narrow screens."""
    names = ", ".join(curve.name for curve in chart.curves)
    alt = f"Line chart: test accuracy against {chart.unit} for {names}; the numbers are in the table of accuracies."
    return for_both_screens(partial(accuracy_curves, chart.curves, chart.ticks, unit=chart.unit, band=chart.band), alt)


def heatmap_picture(panels: list[Panel]) -> str:
    """All heatmaps as one picture for a paper: light only."""
    return data_address(heatmaps(panels), "image/png")


def training_pictures(study: RecordedStudy, answer: Answer) -> list[ReportPicture]:
    """The training curve of each method's chosen cell at its largest number of images."""
    return [_training_picture(choice, log) for choice, log in chosen_trainings(study, answer)]


def _training_picture(choice: Choice, log: Mapping[str, np.ndarray]) -> ReportPicture:
    return in_both_themes(
        lambda theme: loss_curve(log, title=_title(choice), theme=theme),
        f"Line chart: loss, embedding spread and rank, similarities and schedules by epoch of {choice.cells[0]}; "
        f"final loss {log['loss'][-1]:.3g}.",
    )


def _title(choice: Choice) -> str:
    return f"{choice.method}: {choice.augmentation} augmentation, lr {format_lr(choice.lr or 0)}"


def confusion_counts(embeddings: StoredEmbeddings, classes: int) -> np.ndarray:
    """Images by true (rows) and predicted class (columns)."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (embeddings.labels, embeddings.predicted), 1)
    return counts


def confusion_picture(counts: np.ndarray, classes: tuple[str, ...]) -> ReportPicture:
    """The confusion matrix of a cell."""
    right, total = int(np.trace(counts)), int(counts.sum())
    alt = f"Confusion matrix of {len(classes)} classes: {right} of {total} test images on the diagonal."
    return in_both_themes(lambda theme: confusion_matrix(counts, classes, theme=theme), alt)
