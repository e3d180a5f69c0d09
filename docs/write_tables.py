"""Writes the tables of docs/measures.md and docs/methods.md from declarations: python docs/write_tables.py."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from selfsup.cli.method_text import describe_cost, describe_needs
from selfsup.evaluation.base import Column
from selfsup.evaluation.evaluators import load_evaluators
from selfsup.methods import method_class, method_names
from selfsup.record.results import CELL, REMARKS, TRAINING

PAGES = [Path(__file__).with_name(name) for name in ("measures.md", "methods.md")]


def with_tables(text: str) -> str:
    """`text` with what stands below each ``<!-- table: … -->``, up to an empty line, made anew."""
    tables = {
        "with labels": lambda: _rows(_columns(needs_labels=True)),
        "without labels": lambda: _rows(_columns(needs_labels=False)),
        "cell and training": lambda: _rows([*CELL, *TRAINING, *REMARKS]),
        "methods": _methods,
    }
    sections = re.split(r"(<!-- table: .*? -->\n)", text)
    for place in range(1, len(sections), 2):
        name = sections[place].removeprefix("<!-- table: ").removesuffix(" -->\n")
        below = re.sub(r"\A(.+\n)*", "", sections[place + 1])
        sections[place + 1] = "".join(tables[name]()) + below
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


def _methods() -> Iterable[str]:
    yield "| method | needs | cost of a step | recipe | for transformers |\n"
    yield "|---|---|---|---|---|\n"
    for name in method_names():
        cls = method_class(name)
        if not cls.tags.trains:
            continue
        recipes = (cls.recipe, cls.transformer_recipe or cls.recipe)
        first, second = (f"{recipe.optimizer} {recipe.lr:g}, decay {recipe.weight_decay:g}" for recipe in recipes)
        first = "" if cls.tags.needs_tokens else first
        yield f"| `{name}` | {describe_needs(cls)} | {describe_cost(cls)} | {first} | {second} |\n"


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
