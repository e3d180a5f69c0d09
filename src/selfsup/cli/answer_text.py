"""What `run` prints at its end: the answer as a table or as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import click
import pandas as pd
from rich.console import Console
from rich.table import Table

from selfsup.config.axes import format_lr
from selfsup.evaluation.evaluators import measures
from selfsup.evaluation.metrics import ACCURACY
from selfsup.execution.words import counted
from selfsup.record.storage import shown
from selfsup.report.caveats import unreadable_cells
from selfsup.report.findings import Answer
from selfsup.report.table import answer_table, external_test, headline
from selfsup.report.verdict import answer
from selfsup.study import Study


def show_answer(study: Study, as_json: bool) -> None:
    """Print the answer of a study."""
    found = answer(study.path)
    table = answer_table(found)
    if not found.labelled:
        table = _with_measures(table, found, study.results)
    report = study.path / "report.html"
    if as_json:
        summary = {"headline": headline(found), "answer": _records(table), "report": str(report)}
        click.echo(json.dumps(summary, indent=1))
        return
    _print_table(table, f"per {found.category}", _scores(found) if found.labelled else _measure_columns())
    click.echo(headline(found))
    if found.unreadable:
        click.echo(unreadable_cells(found))
    if found.external:
        click.echo(external_test(found, study.folder.read_json("dataset.json")["external"]["name"]))
    counts = study.results.status.value_counts()
    statuses = ", ".join(f"{n} {status}" for status, n in counts.items())
    click.echo(f"{counted(len(study.results), 'cell')}: {statuses}")
    click.echo(f"Report: {report}")
    if study.address:
        click.echo(f"Study: {shown(study.address)}")


#: Characters of a line that is not for a terminal.
UNFOLDED = 250


def _scores(found: Answer) -> dict[str, Callable[[Any], str]]:
    """Columns of the final table: heading and how a row fills it."""
    metric, beside = found.metric, found.beside
    named = "" if metric is ACCURACY else f" {metric.words}"
    columns: dict[str, Callable[[Any], str]] = {
        f"val{named}": lambda row: _number(getattr(row, metric.validation), ".3f"),
        f"test{named}": lambda row: _number(getattr(row, metric.test), ".3f"),
        "95 %": lambda row: "–".join(filter(None, (_number(row.test_low, ".3f"), _number(row.test_high, ".3f")))),
    }
    if beside:
        columns[beside.words] = lambda row: _number(getattr(row, beside.test), ".3f")
    if len({choice.seeds for choice in found.choices}) > 1:
        columns["seeds"] = lambda row: str(row.seeds)
    return columns


def _measure_columns() -> dict[str, Callable[[Any], str]]:
    """The measures that have a heading, and of how many seeds they are the mean."""
    numbers = {m.heading: lambda row, m=m: _number(getattr(row, m.name), m.form) for m in measures() if m.heading}
    return {**numbers, "seeds": lambda row: str(row.seeds)}


def _with_measures(table: pd.DataFrame, found: Answer, results: pd.DataFrame) -> pd.DataFrame:
    """The answer with more measures that need no labels: means over the seeds of each choice."""
    more = [measure.name for measure in measures() if measure.heading and measure.name not in table]
    values = results.set_index("cell")[more]
    means = [values.loc[list(choice.cells)].mean() for choice in found.choices]
    return table.join(pd.DataFrame(means, columns=more).reset_index(drop=True))


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return records


def _print_table(table: pd.DataFrame, size: str, columns: dict[str, Callable[[Any], str]]) -> None:
    shown = Table("method", box=None, pad_edge=False)
    several = table["backbone"].nunique() > 1
    if several:
        shown.add_column("backbone", overflow="fold")
    for heading in (size, "augmentation", "lr"):
        shown.add_column(heading)
    for heading in columns:
        shown.add_column(heading, justify="right")
    for row in table.itertuples():
        shown.add_row(*_settings_of(row, several), *(fill(row) for fill in columns.values()))
    console = Console()
    # A file or another program reads lines, which nothing folds.
    (console if console.is_terminal else Console(width=UNFOLDED)).print(shown)


def _settings_of(row: Any, several: bool) -> list[str]:
    lr = "" if math.isnan(row.lr) else format_lr(row.lr)
    return [row.method, *([row.backbone] if several else []), row.per_class, row.augmentation, lr]


def _number(value: float, form: str) -> str:
    return "" if math.isnan(value) else format(value, form)
