"""The figures of a report, and the pictures of the page: each drawn for light and dark, as data addresses."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from PIL import Image

from selfsup.evaluation.confusions import Confusions
from selfsup.execution.words import listed
from selfsup.figures.canvas import DARK, DPI, LIGHT
from selfsup.figures.confusion import confusion_matrix
from selfsup.figures.curves import score_curves
from selfsup.figures.loss import loss_curve
from selfsup.report.findings import Answer
from selfsup.report.recorded import RecordedStudy
from selfsup.report.series import chosen_trainings, score_series, size_places, with_intervals
from selfsup.report.wording import capital, learning_rate

NARROW_SCREEN = 3.9


@dataclass(frozen=True)
class NamedFigure:
    """A figure of the report, for a page or for a file.

    Attributes
    ----------
    name : str
        Of its files.
    caption : str
    draw : callable
        Draws it; takes `theme`, `save` and, where the figure has a narrow form, `width`.
    alt : str
        What it shows, in words.
    """

    name: str
    caption: str
    draw: Callable[..., bytes]
    alt: str = ""


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


def in_both_themes(figure: NamedFigure, **more: Any) -> ReportPicture:
    """The figure in light and dark; `more` is for its `draw`."""
    light, dark = (figure.draw(theme=theme, **more) for theme in (LIGHT, DARK))
    width, height = Image.open(io.BytesIO(light)).size
    # Drawn at 160 dots per inch, seen at 96, as CSS counts.
    scale = 96 / DPI
    png = "image/png"
    return ReportPicture(
        figure.alt, data_address(light, png), data_address(dark, png), round(width * scale), round(height * scale)
    )


def for_both_screens(figure: NamedFigure) -> ReportPicture:
    """The figure in its own width and in that of a narrow screen."""
    narrow = in_both_themes(figure, width=NARROW_SCREEN)
    return replace(in_both_themes(figure), narrow={"light": narrow.light, "dark": narrow.dark})


def curves_figure(study: RecordedStudy, answer: Answer) -> NamedFigure | None:
    """The study's metric against images (or labels) per class; None where no method has several numbers of images."""
    places = size_places(study)
    curves = score_series(answer, places)
    if not any(len(curve.sizes) > 1 for curve in curves):
        return None
    used = {size for curve in curves for size in curve.sizes}
    at = {place: [size for size, found in places.items() if found == place] for place in sorted(used)}
    ticks = {place: ", ".join(sizes) for place, sizes in at.items()}  # shares may be of as many images
    unit = f"{'training ' * (study.unit == 'images')}{study.size_unit}"
    shaded = [name for name in with_intervals(answer) if any(choice.interval for choice in answer.of(name))]
    of_some = f" of {listed(shaded)}" if len(shaded) < len(curves) else ""
    band = f"95 % interval{of_some}" if shaded else ""
    names, score = ", ".join(curve.name for curve in curves), answer.metric.words
    return NamedFigure(
        "curves",
        f"{capital(score)} and {study.size_unit}",
        partial(score_curves, curves, ticks, score=score, unit=unit, band=band),
        f"Line chart: test {score} against {unit} for {names}; the numbers are in the table below it.",
    )


def training_figures(study: RecordedStudy, answer: Answer) -> list[NamedFigure]:
    """The training curve of each method's chosen cell at its largest number of images."""
    return [
        NamedFigure(
            f"training-{choice.name}",
            f"Training of {choice.name}",
            partial(
                loss_curve,
                log,
                title=f"{choice.name}: {choice.augmentation} augmentation, lr {learning_rate(choice.lr)}",
            ),
            f"Line chart: loss, embedding spread and rank, similarities and schedules by epoch of {choice.cells[0]}; "
            f"final loss {log['loss'][-1]:.3g}.",
        )
        for choice, log in chosen_trainings(study, answer)
    ]


def confusion_figure(cell: str, confusions: Confusions, classes: tuple[str, ...]) -> NamedFigure:
    """The confusion matrix of a cell, or what is drawn of it."""
    right, total = int(confusions.counts.sum() - confusions.errors.counts.sum()), int(confusions.counts.sum())
    drawn = len(confusions.drawn(len(classes)))
    part = f"the {drawn} with the most confusions of " if drawn < len(classes) else ""
    return NamedFigure(
        "confusion",
        f"Confusions of {cell}",
        partial(confusion_matrix, confusions, classes, title=cell),
        f"Confusion matrix of {part}{len(classes)} classes: {right} of {total} test images are named rightly.",
    )
