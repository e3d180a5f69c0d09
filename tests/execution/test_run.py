"""What a run leaves while it goes on."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import ClassVar

import pytest

import selfsup
from selfsup.config.grid import Tags
from selfsup.execution import resources, run
from selfsup.execution.budgets.job_costs import JobCosts
from selfsup.execution.executors.base import Event, JobDone
from selfsup.execution.run import _Pace
from selfsup.execution.watchers import Watcher
from selfsup.methods import method_class

GRID = {
    "backbone": "test_resnet", "methods": "random,supervised", "augmentations": "weak", "lrs": "0.1", "epochs": 1,
    "image_size": 16, "per_class": "2,5", "executor": "inline", "threads": 1, "device": "cpu",
}  # fmt: skip


class Reader(Watcher):
    """Opens the page whenever a job is done."""

    def __init__(self, page: Path) -> None:
        self.page, self.seen = page, list[str]()

    def on_event(self, event: Event) -> None:
        if isinstance(event, JobDone) and self.page.exists():
            self.seen.append(self.page.read_text(encoding="utf-8"))


def test_the_page_grows_while_the_study_runs_and_stays_once_it_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "PAGE_EVERY", 0.0)
    monkeypatch.setattr(run, "PAGE_SECONDS", 0.0)
    monkeypatch.setattr(run, "PAGE_SHARE", 1.0)
    page = tmp_path / "study" / "report.html"
    reader = Reader(page)
    selfsup.compare("digits", out=page.parent, watcher=reader, **GRID)
    so_far = [int(found[1]) for text in reader.seen if (found := re.search(r"(\d+) of 4 cells so far", text))]
    assert so_far
    assert so_far == sorted(so_far)
    assert all("selfsup-place" in text for text in reader.seen)
    finished = page.read_text(encoding="utf-8")
    assert "4 cells" in finished
    assert "so far" not in finished
    assert "selfsup-place" not in finished


@pytest.mark.usefixtures("without_pictures")
def test_a_study_that_has_run_frozen_without_weights_goes_on_and_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before it was known that this is `random`."""
    options = {**GRID, "methods": "frozen,random", "references": "none", "backbone": "test_resnet@none"}
    with monkeypatch.context() as before:
        before.setattr(method_class("frozen"), "tags", Tags(trains=False))
        begun = selfsup.compare("digits", out=tmp_path / "study", **{**options, "per_class": "2"}).results
    assert begun.method.tolist() == ["frozen", "random"]
    grown = selfsup.compare("digits", out=tmp_path / "study", **options).results
    assert grown.cell.tolist() == [*begun.cell, "random-test_resnet-n5-s0"]
    assert grown.iloc[:2].equals(begun)


@pytest.mark.usefixtures("without_pictures")
def test_what_a_study_began_with_is_not_called_configured_by_the_command_that_goes_on_with_it(tmp_path: Path) -> None:
    class Said(Watcher):
        lines: ClassVar[list[tuple[str, str]]] = []

        def say(self, line: str) -> None:
            self.lines += re.findall(r"^Training on .*?\((.*?)\) in .*? \((.*?)\)\.", line)

    asked = {**GRID, "methods": "random", "device": "auto", "precision": "fp32", "watcher": Said()}
    selfsup.compare("digits", out=tmp_path / "study", **{**asked, "per_class": "2"})
    selfsup.compare("digits", out=tmp_path / "study", **asked)
    assert Said.lines == [("the best device here", "as configured"), ("as the study began", "as the study began")]


def test_what_is_slow_is_done_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of 3 s that may take 2 % of the time: not before 100 s, and then after 150 s more."""
    now = 0.0
    monkeypatch.setattr(run.time, "monotonic", lambda: now)
    pace = _Pace(every=20.0, share=0.02, seconds=2.0)
    due = []
    for now in range(400):
        if pace.due:
            due.append(now)
            with pace.doing():
                now += 3
    assert due == [100, 253]


def test_a_study_of_minutes_says_how_long_it_takes_before_its_first_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes seconds is not timed, and says nothing; a budget is advised where an hour is not enough."""

    wall = JobCosts.wall

    class Said(Watcher):
        def __init__(self) -> None:
            self.lines = list[str]()

        def say(self, line: str) -> None:
            self.lines.append(line)

        def on_event(self, event: Event) -> None:
            raise InterruptedError  # at the first job

    advice = "; --budget 1h runs what fits into an hour"
    for pixels, slower, said in ((math.inf, 1, None), (0, 1, ""), (0, 100_000, advice)):
        monkeypatch.setattr(resources, "WORTH_TIMING", pixels)
        monkeypatch.setattr(JobCosts, "wall", lambda self, *given, times=slower: times * wall(self, *given))
        watcher = Said()
        with pytest.raises(InterruptedError):
            selfsup.compare("digits", out=tmp_path / f"{pixels}-{slower}", watcher=watcher, precision="fp32", **GRID)
        estimates = [line for line in watcher.lines if line.startswith("About")]
        expected = rf"About .* for 4 cells by steps timed here{said}\."
        assert re.fullmatch("" if said is None else expected, "".join(estimates)), watcher.lines
