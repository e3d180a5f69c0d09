"""Writes ``report.html``: the answer first, then everything that it rests on, in one file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from selfsup._version import __version__
from selfsup.figures import accuracy_colour, bokeh_script
from selfsup.figures.heatmaps import UNFINISHED
from selfsup.record.folder import replace_file
from selfsup.report import without_labels, wording
from selfsup.report.best_cell import look_at
from selfsup.report.pictures import curves_picture, heatmap_picture, training_pictures
from selfsup.report.recorded import RecordedStudy, read_study
from selfsup.report.series import accuracy_chart, baseline_panel, heatmap_panels
from selfsup.report.verdict import answer_study

MOST_AUDIT_ROWS = 200


@dataclass(frozen=True)
class Column:
    """A column of the table of all cells."""

    name: str
    title: str
    numeric: bool = True
    form: str = ".4g"


COLUMNS = (
    Column("method", "method", numeric=False),
    Column("augmentation", "augmentation", numeric=False),
    Column("lr", "lr"),
    Column("per_class", "per class"),
    Column("seed", "seed"),
    Column("status", "status", numeric=False),
    Column("val_accuracy", "validation", form=".3f"),
    Column("test_accuracy", "test", form=".3f"),
    Column("test_balanced_accuracy", "balanced", form=".3f"),
    Column("test_macro_f1", "macro F1", form=".3f"),
    Column("knn_accuracy", "kNN", form=".3f"),
    Column("few_shot_accuracy", "5-shot", form=".3f"),
    Column("finetune_accuracy", "fine-tuned", form=".3f"),
    Column("effective_rank", "eff. rank", form=".1f"),
    Column("clusters", "clusters"),
    Column("cluster_stability", "stability", form=".3f"),
    Column("silhouette", "silhouette", form=".3f"),
    Column("final_loss", "loss", form=".3f"),
    Column("train_seconds", "seconds", form=".0f"),
)


def write_report(study_dir: Path, command: str | None = None, *, planned: int | None = None) -> Path:
    """Write the report of a study, finished or not, as one file that needs no network.

    Parameters
    ----------
    study_dir : Path
        The study's folder.
    command : str, optional
        The command line that made the study, shown in the report.
    planned : int, optional
        Cells in the study's grid, to say how many are still to come.

    Returns
    -------
    Path
        ``report.html`` in the study's folder, replaced in one step.

    Raises
    ------
    UserError
        If the folder is not a study, or cannot be written.
    """
    study = read_study(study_dir)
    path = study.path / "report.html"
    # A file name that is not valid Unicode is shown with escapes.
    replace_file(path, render(study, command=command, planned=planned).encode("utf-8", "backslashreplace"))
    return path


def render(study: RecordedStudy, *, command: str | None = None, planned: int | None = None) -> str:
    """The text of the report."""
    answer = answer_study(study)
    best = look_at(study, answer.best.cells[0]) if answer.best else None
    chart = accuracy_chart(study, answer)
    panels = heatmap_panels(study.results) if study.labelled else []
    return templates().get_template("report.html.j2").render(
        study=study,
        answer=answer,
        best=best,
        sizes=wording.size_names(answer.sizes, study.mean_per_class),
        panels=panels,
        baselines=baseline_panel(study.results) if study.labelled else None,
        heatmap_picture=heatmap_picture(panels) if panels else "",
        curves=curves_picture(chart) if chart else None,
        trainings=training_pictures(study, answer),
        trusted=without_labels.trust(study),
        opinions=[] if study.labelled else without_labels.opinions(study.results),
        measure_names=without_labels.NAMES,
        columns=_filled(study.results),
        counts=_counts(study.results),
        planned=planned,
        troubles=study.results[~study.results["status"].isin(["done", "pruned"])].to_dict("records"),
        pruned=study.results[study.results["status"] == "pruned"].to_dict("records"),
        audit_counts=study.audit["problem"].value_counts().to_dict(),
        audit=study.audit.head(MOST_AUDIT_ROWS).to_dict("records"),
        command=command,
        version=__version__,
        written=f"{datetime.now():%Y-%m-%d %H:%M}",
        bokeh=Markup(bokeh_script().decode()) if best else "",
    )  # fmt: skip


def _filled(results: pd.DataFrame) -> list[Column]:
    """Columns in which any cell has a value."""
    return [column for column in COLUMNS if results[column.name].replace("", None).notna().any()]


def _counts(results: pd.DataFrame) -> dict[str, int]:
    return {str(status): int(count) for status, count in results["status"].value_counts().items()}


@cache
def templates() -> Environment:
    """The pages, every text in them escaped."""
    environment = Environment(
        loader=PackageLoader("selfsup.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "accuracy": wording.accuracy,
        "accuracy_colour": accuracy_colour,
        "duration": wording.duration,
        "interval": wording.interval,
        "listed": wording.listed,
        "p_value": wording.p_value,
        "signed": wording.signed,
        "signed_interval": wording.signed_interval,
        "size": wording.size,
        "value": wording.value,
        "lr": wording.learning_rate,
    }
    environment.globals |= {"unfinished": UNFINISHED, "setting": wording.setting}
    return environment
