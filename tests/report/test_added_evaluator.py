"""An evaluator is one file: its column comes into results.csv, the page, the agreement table and the docs by itself."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from page_reader import PageReader
from selfsup import registry
from selfsup.config.grid import Cell
from selfsup.config.validation import validate
from selfsup.evaluation.agreement import agreements
from selfsup.record.folder import StudyFolder
from selfsup.record.results import CellResult, result_columns
from selfsup.registry import Origin
from selfsup.report.page import write_report

DOCS = Path(__file__).parents[2] / "docs"
FILE = '''
"""Mean absolute value of the embeddings."""

from selfsup.evaluation.base import Column, Evaluated, Evaluator

evaluator = Evaluator(
    lambda cell: Evaluated({"magnitude": float(abs(cell.test.x).mean())}),
    columns=(Column("magnitude", "magnitude (nobody, 1999): mean absolute value", heading="size", better="lower"),),
    default=True,
)
'''


@pytest.fixture(autouse=True)
def added(tmp_path: Path) -> Iterator[None]:
    file = tmp_path / "magnitude.py"
    file.write_text(FILE)
    origin = Origin("a test", lambda: file, lambda: runpy.run_path(str(file))["evaluator"])
    registry.plug_in("magnitude", origin, [registry.EVALUATOR])
    yield
    registry.unplug()


def test_its_column_stands_after_those_of_others_in_the_results(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "study")
    folder.create()
    folder.write_config(validate({"methods": "random"}))
    folder.write_cell(CellResult.of(Cell("random", "resnet18", None, None, 5, 0), "done", magnitude=0.25), {})
    ours = [column.name for column in result_columns() if column.name != "magnitude"]
    assert folder.write_results().columns.tolist() == [*ours, "magnitude"]
    table = pd.read_csv(folder.path / "results.csv")
    assert table.magnitude.tolist() == [0.25]


def test_it_is_held_against_the_accuracies_in_its_own_direction() -> None:
    accuracy = [0.2, 0.5, 0.9, 0.7]
    results = pd.DataFrame({
        "method": "moco", "backbone": "net", "augmentation": "weak", "lr": [0.1, 0.2, 0.3, 0.4], "per_class": "all",
        "seed": 0, "status": "done", "val_accuracy": accuracy, "test_accuracy": accuracy,
        "magnitude": 1 - np.array(accuracy),
    })  # fmt: skip
    (found,) = agreements(results)
    assert (found.measure, found.correlation.rho, found.regret) == ("magnitude", 1, 0)


def test_the_page_shows_it_among_the_cells_and_among_the_measures(make_study) -> None:  # type: ignore[no-untyped-def]
    writer = make_study(methods=("moco", "simclr"))
    results = pd.read_csv(writer.path / "results.csv")
    results.assign(magnitude=1 - results["test_accuracy"]).to_csv(writer.path / "results.csv", index=False)
    page = PageReader(write_report(writer.path).read_text()).visible
    assert "magnitude (nobody, 1999) +" in page
    assert "silhouette size loss" in page or "eff. rank size loss" in page


def test_the_docs_describe_it() -> None:
    with_tables = runpy.run_path(str(DOCS / "write_tables.py"))["with_tables"]
    text = with_tables((DOCS / "measures.md").read_text(encoding="utf-8"))
    assert "| `silhouette` | higher |" in text
    assert "| `magnitude` | lower | magnitude (nobody, 1999): mean absolute value |\n" in text
