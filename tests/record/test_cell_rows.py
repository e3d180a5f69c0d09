"""What is recorded of cells, read while they are replaced."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from selfsup.errors import UserError
from selfsup.record import cell_rows
from selfsup.record.cell_rows import CellRows


def write(cells: Path, cell: str, **row: Any) -> Path:
    file = cells / cell / "metrics.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(row))
    return file


def test_a_cell_that_is_away_while_it_is_replaced_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, aside = tmp_path / "cells", tmp_path / "aside"
    rows = CellRows(cells)
    for cell in ("a", "b"):
        write(cells, cell, status="pruned")
    assert rows.read().keys() == {"a", "b"}
    os.rename(cells / "a", aside)
    write(tmp_path, "new", status="done")

    def replaced(seconds: float) -> None:
        if seconds:
            os.rename(tmp_path / "new", cells / "a")

    monkeypatch.setattr(cell_rows.time, "sleep", replaced)
    assert rows.read() == {"a": {"status": "done"}, "b": {"status": "pruned"}}


def test_a_cell_that_goes_between_its_listing_and_its_reading_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cell in ("a", "b"):
        write(tmp_path, cell, status="done")
    read = cell_rows.read_json

    def goes_first(file: Path) -> dict[str, Any]:
        if file.parent.name == "a":
            file.unlink(missing_ok=True)
        return read(file)

    monkeypatch.setattr(cell_rows, "read_json", goes_first)
    assert CellRows(tmp_path).read() == {"b": {"status": "done"}}


def test_a_cell_that_was_removed_is_given_up_and_asked_for_no_more(tmp_path: Path) -> None:
    rows, file = CellRows(tmp_path), write(tmp_path, "a", status="done")
    assert rows.read() == {"a": {"status": "done"}}
    file.unlink()
    assert rows.read() == rows.read() == {}


@pytest.mark.parametrize("content", [b"", b'{"status": "do', b"\xff\xfe\x00", b"[]"])
def test_a_damaged_row_is_a_sentence_that_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, "a").write_bytes(content)
    said = r"a/metrics\.json' is missing or damaged; remove the cell's folder and run the same command again\."
    with pytest.raises(UserError, match=said):
        CellRows(tmp_path).read()
