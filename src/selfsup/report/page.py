"""Writes ``report.html``: the answer first, then everything that it rests on, in one file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from selfsup._version import __version__
from selfsup.atomic import replace_file
from selfsup.data.audit import ALARMING
from selfsup.evaluation.base import Column
from selfsup.evaluation.evaluators import load_evaluators, measures
from selfsup.evaluation.metrics import ACCURACY, Metric
from selfsup.execution.words import counted, listed
from selfsup.figures.canvas import accuracy_colour
from selfsup.figures.heatmaps import UNFINISHED, heatmaps
from selfsup.figures.interactive import bokeh_script
from selfsup.record.results import CELL, TRAINING
from selfsup.report import without_labels, wording
from selfsup.report.best_cell import look_at
from selfsup.report.pictures import curves_figure, data_address, for_both_screens, in_both_themes, training_figures
from selfsup.report.recorded import RecordedStudy, read_study
from selfsup.report.series import baseline_panel, heatmap_panels
from selfsup.report.table import closeness, external_test, gains
from selfsup.report.verdict import answer_study

MOST_AUDIT_ROWS = 200


def write_report(
    study_dir: Path,
    command: str | None = None,
    *,
    to: Path | None = None,
    growing: bool = False,
    asked: Mapping[str, Any] = {},
) -> Path:
    """Write the report of a study, finished or not, as one file that needs no network.

    Parameters
    ----------
    study_dir : Path
        The study's folder.
    command : str, optional
        The command line that made the study, shown in the report.
    to : Path, optional
        The file to write; ``report.html`` in the study's folder by default.
    growing : bool
        Whether the study is running, so that the page is to reload itself.
    asked : mapping of str to value, optional
        Settings in the place of the study's own, as for :func:`read_study`.

    Returns
    -------
    Path
        The file, replaced in one step.

    Raises
    ------
    UserError
        If the folder is not a study, or cannot be written.
    """
    study = read_study(study_dir, asked)
    path = to or study.path / "report.html"
    page = render(study, command=command, growing=growing, links=_way(path.parent, study.path))
    replace_file(path, page.encode("utf-8", "backslashreplace"))  # a file name that is no valid Unicode has escapes
    return path


def _way(page: Path, study: Path) -> str:
    """What links of a page in a folder to files of a study begin with; in full where one is on another drive."""
    try:
        way = Path(os.path.relpath(study, page))
    except ValueError:
        return f"{study.resolve().as_uri()}/"
    return "" if way == Path() else f"{quote(os.fsencode(way.as_posix()))}/"


def render(
    study: RecordedStudy,
    *,
    command: str | None = None,
    growing: bool = False,
    links: str = "",
) -> str:
    """The text of the report, whose links to files of the study begin with `links`."""
    answer = answer_study(study)
    best = look_at(study, study.cell_to_use(answer.best.cells)) if answer.best else None
    curves = curves_figure(study, answer)
    panels = heatmap_panels(study.results, study.metric) if study.labelled else []
    return templates().get_template("report.html.j2").render(
        study=study,
        answer=answer,
        best=best,
        sizes=wording.size_names(answer.sizes, study.mean_per_class),
        panels=panels,
        baselines=baseline_panel(study.results, study.metric) if study.labelled else None,
        heatmap_picture=data_address(
            heatmaps(panels, score=answer.metric.words, size=study.size_unit), "image/png"
        ) if panels else "",
        curves=for_both_screens(curves) if curves else None,
        trainings=[in_both_themes(figure) for figure in training_figures(study, answer)],
        trusted=without_labels.trust(study),
        opinions=[] if study.labelled else without_labels.opinions(study.results),
        measure_names={measure.name: measure.title for measure in measures()},
        columns=[
            replace(c, heading=c.heading.replace("per class", f"per {study.category}"))
            for c in shown_columns(study.metric)
            if _tells(study.results[c.name])
        ],
        counts=study.results["status"].value_counts().to_dict(),
        growing=growing,
        links=links,
        troubles=study.results[~study.results["status"].isin(["done", "pruned"])].to_dict("records"),
        pruned=study.results[study.results["status"] == "pruned"].to_dict("records"),
        audit_counts=study.audit["problem"].value_counts().to_dict(),
        alarms=study.audit.loc[study.audit["problem"].isin(ALARMING), "detail"].tolist(),
        audit=study.audit.head(MOST_AUDIT_ROWS).to_dict("records"),
        command=command,
        version=__version__,
        written=f"{datetime.now():%Y-%m-%d %H:%M}",
        bokeh=Markup(bokeh_script().decode()) if best else "",
    )  # fmt: skip


def _tells(values: pd.Series[Any]) -> bool:
    """Whether a column of the results has values, and the one of networks, several."""
    return bool(values.replace("", None).notna().any()) and (values.name != "backbone" or values.nunique() > 1)


def shown_columns(metric: Metric = ACCURACY) -> list[Column]:
    """Columns that the table of cells can show: those with a heading, and those of the metric."""
    headings = {ACCURACY.validation: "", ACCURACY.test: "accuracy", metric.validation: "validation"}
    headings[metric.test] = f"test {metric.words}"
    evaluated = [column for evaluator in load_evaluators().values() for column in evaluator.columns]
    if metric is not ACCURACY:
        evaluated = [replace(column, heading=headings.get(column.name, column.heading)) for column in evaluated]
    return [column for column in (*CELL, *evaluated, *TRAINING) if column.heading]


@cache
def templates() -> Environment:
    """The pages, every text in them escaped."""
    environment = Environment(
        loader=PackageLoader("selfsup.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    filters = (
        accuracy_colour, gains, external_test, closeness, listed, wording.capital, wording.duration,
        wording.interval, wording.learning_rate, wording.p_value, wording.score, wording.signed,
        wording.signed_interval, wording.points, wording.shared_seeds, wording.value, counted,
    )  # fmt: skip
    environment.filters |= {written.__name__: written for written in filters}
    environment.globals |= {"unfinished": UNFINISHED, "setting": wording.setting}
    return environment
