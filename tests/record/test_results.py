"""A row of the results has the columns that are declared, in their order, and nothing else."""

from __future__ import annotations

import copy
import pickle
import runpy
from pathlib import Path

import pytest

from selfsup.config.grid import Cell
from selfsup.errors import UserError
from selfsup.evaluation.evaluators import knn
from selfsup.record.results import CELL as CELL_COLUMNS
from selfsup.record.results import MEASURED_COLUMNS, CellResult, result_columns

#: What scripts and spreadsheets of users rely on.
HEADER = (
    "cell,method,backbone,augmentation,lr,per_class,seed,lr_multiple,status,epochs,val_accuracy,test_accuracy,"
    "test_balanced_accuracy,"
    "test_macro_f1,knn_accuracy,few_shot_accuracy,few_shot_sd,finetune_accuracy,finetune_val_accuracy,finetune_lr,"
    "final_loss,train_seconds,images_per_second,train_images,embedding_std,effective_rank,alpha_req,lidar,alignment,"
    "uniformity,clusters,cluster_stability,silhouette,probe_strength,rung_score,message"
)
CELL = Cell("moco", "resnet18", "weak", 0.06, 20, 3)


def test_the_columns_that_there_were_keep_their_names_and_places() -> None:
    assert ",".join(column.name for column in result_columns()).startswith(HEADER)


def test_measured_columns_are_columns() -> None:
    assert set(MEASURED_COLUMNS) <= {column.name for column in result_columns()}


def test_columns_are_attributes() -> None:
    result = CellResult.of(CELL, "done", test_accuracy=0.5, clusters=4)
    assert (result.cell, result.method, result.per_class, result.lr) == (CELL.id, "moco", "20", 0.06)
    assert (result.test_accuracy, result.clusters, result.val_accuracy, result.epochs) == (0.5, 4, None, 0)
    assert CellResult.read(result.values) == result
    with pytest.raises(AttributeError, match="no column 'test_acuracy'"):
        _ = result.test_acuracy


def test_a_result_can_be_sent_to_other_processes() -> None:
    result = CellResult.of(CELL, "done", test_accuracy=0.5)
    assert pickle.loads(pickle.dumps(result)) == copy.deepcopy(result) == result


def test_a_value_without_a_column_is_refused() -> None:
    with pytest.raises(UserError, match="Did you mean 'test_accuracy'"):
        CellResult.of(CELL, "done", test_acuracy=0.5)


def test_a_column_that_is_declared_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    again = type(knn.evaluator)(knn.evaluator.evaluate, columns=(CELL_COLUMNS[6],))
    monkeypatch.setattr(knn, "evaluator", again)
    with pytest.raises(UserError, match=r"The column 'seed' of results\.csv is declared twice"):
        result_columns()


def test_the_docs_describe_the_columns_as_they_are_declared() -> None:
    docs = Path(__file__).parents[2] / "docs"
    text = (docs / "measures.md").read_text(encoding="utf-8")
    assert text == runpy.run_path(str(docs / "write_tables.py"))["with_tables"](text), "run docs/write_tables.py"
    assert all(f"`{column.name}`" in text for column in result_columns())
