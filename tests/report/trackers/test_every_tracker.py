"""What holds for every tracker that is registered, today's and tomorrow's."""

from __future__ import annotations

from pathlib import Path

import pytest
from tracked import CELLS, log_to

from selfsup import registry
from selfsup.errors import UserError
from selfsup.record.folder import StudyFolder
from selfsup.report.trackers import load_trackers

NAMES = registry.names(registry.TRACKER)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".log"}


@pytest.mark.parametrize("name", NAMES)
def test_it_logs_every_cell_once_and_changes_nothing_that_is_recorded(
    folder: StudyFolder, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        (tracker,) = load_trackers([name]).values()
    except UserError as missing:
        pytest.skip(str(missing))
    recorded = contents(folder.cells)
    home = folder.path / "tracking" / name
    assert tracker.store(home) == "local"
    lines = log_to(name, folder)
    assert lines[-1] == f"{name}: {len(CELLS)} cells logged; {tracker.hint(home.resolve())}"
    logged = contents(home)
    assert log_to(name, folder) == []
    assert contents(home) == logged
    assert contents(folder.cells) == recorded
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("name", NAMES)
def test_it_is_listed_with_a_line_about_it(name: str) -> None:
    from selfsup.cli.listing import lines

    (line,) = [line for line in lines("trackers", "*") if line.startswith(f"{name} ")]
    assert line.endswith(".")
