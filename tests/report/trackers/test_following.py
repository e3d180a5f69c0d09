"""Following a study: every cell once, and no tracker's trouble costs a result."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tracked import CELLS, GRID

import selfsup
from selfsup import registry
from selfsup.errors import UserError
from selfsup.record.folder import StudyFolder
from selfsup.report.trackers import following, load_trackers
from selfsup.report.trackers.base import FinishedCell


class Diary:
    """A tracker that writes a line for every run into a file; fails for the cells that it is told to fail for."""

    packages = ()

    def __init__(self, unloved: frozenset[str] = frozenset()) -> None:
        self.unloved = unloved
        self.attempts: list[str] = []
        self.threads: set[threading.Thread] = set()

    def store(self, home: Path) -> str:
        return "local"

    def log(self, cell: FinishedCell, home: Path) -> None:
        self.attempts.append(cell.id)
        self.threads.add(threading.current_thread())
        if cell.id in self.unloved:
            raise OSError("the diary is full.\nsecond line")
        with open(home / "diary.txt", "a") as file:
            print(cell.id, file=file)

    def hint(self, home: Path) -> str:
        return "read the diary"


def read_diary(folder: StudyFolder) -> list[str]:
    path = folder.path / "tracking" / "diary" / "diary.txt"
    return path.read_text().split() if path.exists() else []


def follow(folder: StudyFolder, diary: Diary) -> list[str]:
    lines: list[str] = []
    with following(folder, {"diary": diary}, lines.append):
        pass
    return lines


def test_cells_that_were_finished_before_are_logged_and_none_twice(folder: StudyFolder) -> None:
    assert follow(folder, Diary()) == ["diary: 3 cells logged; read the diary"]
    assert sorted(read_diary(folder)) == sorted(CELLS)
    assert follow(folder, Diary()) == []
    assert sorted(read_diary(folder)) == sorted(CELLS)


def test_a_failed_cell_is_logged_when_it_has_been_mended(folder: StudyFolder) -> None:
    path = folder.cells / "random-test_resnet-n5-s0" / "metrics.json"
    sound = path.read_text()
    path.write_text(json.dumps({**json.loads(sound), "status": "failed"}))
    follow(folder, Diary())
    assert "random-test_resnet-n5-s0" not in read_diary(folder)
    path.write_text(sound)
    follow(folder, Diary())
    assert sorted(read_diary(folder)) == sorted(CELLS)


def test_logging_runs_beside_the_study_and_not_in_its_thread(folder: StudyFolder) -> None:
    diary = Diary()
    follow(folder, diary)
    assert diary.threads
    assert threading.current_thread() not in diary.threads


def test_a_cell_that_cannot_be_logged_keeps_no_other_from_it_and_is_tried_again(folder: StudyFolder) -> None:
    lines = follow(folder, Diary(frozenset({"random-test_resnet-n5-s0"})))
    assert lines == [
        "diary could not log a cell (OSError: the diary is full); the study goes on, and the same command logs what "
        "is missing.",
        "diary: 2 cells logged; read the diary",
    ]
    follow(folder, Diary())
    assert sorted(read_diary(folder)) == sorted(CELLS)


def test_a_tracker_that_fails_twice_is_told_of_once_and_left_alone_until_there_is_news(folder: StudyFolder) -> None:
    diary = Diary(frozenset(CELLS))
    lines: list[str] = []
    with following(folder, {"diary": diary}, lines.append) as notice:
        deadline = time.monotonic() + 60
        while not lines and time.monotonic() < deadline:
            time.sleep(0.01)
            notice()
        assert len(lines) == 1
    first, second, third = sorted(CELLS)
    assert diary.attempts[:4] == [first, second, third, first]  # two rounds, the second with what was not tried yet
    assert len(diary.attempts) % 2 == 0
    assert len(lines) == 1


def test_cells_that_can_never_be_logged_keep_no_other_from_it(folder: StudyFolder) -> None:
    *unloved, last = sorted(CELLS)
    for _ in range(2):  # the first run may have time for one round alone, which the two end
        follow(folder, Diary(frozenset(unloved)))
    assert read_diary(folder) == [last]


def test_a_damaged_note_of_what_is_logged_is_the_trackers_trouble_alone(folder: StudyFolder) -> None:
    follow(folder, Diary())
    (folder.path / "tracking" / "diary" / "logged.json").write_text("{")
    (line,) = follow(folder, Diary())
    assert line.startswith("diary could not log a cell (JSONDecodeError")


def test_a_study_that_is_stopped_waits_for_the_cell_in_hand_only(folder: StudyFolder) -> None:
    stopped, begun = threading.Event(), threading.Event()

    class Slow(Diary):
        def log(self, cell: FinishedCell, home: Path) -> None:
            begun.set()
            stopped.wait()
            super().log(cell, home)

    with pytest.raises(KeyboardInterrupt), following(folder, {"diary": Slow()}, print):
        assert begun.wait(60)
        threading.Timer(0.3, stopped.set).start()
        raise KeyboardInterrupt
    assert len(read_diary(folder)) == 1
    follow(folder, Diary())
    assert sorted(read_diary(folder)) == sorted(CELLS)


def test_a_whole_study_tells_its_trackers_of_every_cell(finished_study: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="no tensorboard")
    out = tmp_path / "study"
    grid = {**GRID, "lrs": "0.03", "methods": "random"}
    selfsup.compare("digits", out=out, **grid, track="tensorboard")
    home = out / "tracking" / "tensorboard"
    assert {path.name for path in home.iterdir()} == {"logged.json", "random-test_resnet-n5-s0"}
    study = selfsup.compare("digits", out=out, **{**grid, "per_class": "5,10"})  # goes on with its tracker
    assert {path.name for path in home.iterdir()} == {
        "logged.json",
        "random-test_resnet-n5-s0",
        "random-test_resnet-n10-s0",
    }
    untracked = selfsup.load_study(finished_study).result("random-test_resnet-n5-s0")
    assert study.result("random-test_resnet-n5-s0").test_accuracy == untracked.test_accuracy
    assert study.config.track == ("tensorboard",)


def test_an_unknown_tracker_is_met_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Unknown tracker 'tensorbord'\. Did you mean 'tensorboard'\?"):
        selfsup.compare("digits", out=tmp_path / "study", **GRID, track="mlflow,tensorbord")


@pytest.mark.parametrize("name", registry.names(registry.TRACKER))
def test_a_missing_package_is_named_with_the_extra_that_brings_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = registry.load(registry.TRACKER, name)
    assert tracker.packages
    monkeypatch.setitem(sys.modules, tracker.packages[0], None)  # as the import system marks what is not there
    with pytest.raises(UserError) as refusal:
        load_trackers([name])
    assert str(refusal.value).startswith(f"--track {name} needs a package that is not installed (")
    assert str(refusal.value).endswith("; install it with: pip install 'selfsup[track]'")


def test_no_tracker_is_imported_unless_it_is_asked_for() -> None:
    code = (
        "import sys, selfsup.cli.commands, selfsup.study, selfsup.report.trackers\n"
        "selfsup.report.trackers.load_trackers(())\n"
        "print(sorted({'mlflow', 'wandb', 'tensorboard', 'pytorch_lightning', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
