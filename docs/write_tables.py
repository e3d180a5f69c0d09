"""Writes the tables of docs/measures.md from the columns' declarations: python docs/write_tables.py."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from selfsup.evaluation.base import Column
from selfsup.evaluation.evaluators import load_evaluators
from selfsup.record.results import CELL, REMARKS, TRAINING

PAGE = Path(__file__).with_name("measures.md")


def with_tables(text: str) -> str:
    """`text` with what stands below each ``<!-- columns: … -->``, up to an empty line, made anew."""
    tables = {
        "with labels": _columns(needs_labels=True),
        "without labels": _columns(needs_labels=False),
        "cell and training": [*CELL, *TRAINING, *REMARKS],
    }
    sections = re.split(r"(<!-- columns: .*? -->\n)", text)
    for place in range(1, len(sections), 2):
        name = sections[place].removeprefix("<!-- columns: ").removesuffix(" -->\n")
        below = re.sub(r"\A(.+\n)*", "", sections[place + 1])
        sections[place + 1] = "".join(_rows(tables[name])) + below
    return "".join(sections)


def _columns(*, needs_labels: bool) -> list[Column]:
    return [
        column
        for evaluator in load_evaluators().values()
        for column in evaluator.columns
        if evaluator.needs_labels == needs_labels
    ]


def _rows(columns: Iterable[Column]) -> Iterable[str]:
    yield "| column | better | what it is |\n"
    yield "|---|---|---|\n"
    for column in columns:
        better = f"near {column.better:g}" if isinstance(column.better, float) else column.better or ""
        yield f"| `{column.name}` | {better} | {column.about} |\n"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
