"""Whole studies on a server of S3's kind: what a group does that keeps its results in a bucket."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.record.storage.conftest import Server

import selfsup
from selfsup.errors import Interrupted, UserError
from selfsup.execution.executors.base import EpochDone, Event, JobDone
from selfsup.execution.watchers import Watcher
from selfsup.inference import find_cell
from selfsup.record.results import MEASURED_COLUMNS
from selfsup.record.storage import lease, uploads

ADDRESS = "s3://studies/lab/digits"
TINY: dict[str, Any] = {
    "methods": "simclr,random",
    "per_class": "5",
    "lrs": "0.03",
    "augmentations": "weak",
    "epochs": 2,
    "image_size": 16,
    "batch_size": 32,
    "backbone": "test_resnet",
    "executor": "inline",
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
}
Machine = Callable[[str], Path]


def numbers(study: selfsup.Study) -> pd.DataFrame:
    return study.results.drop(columns=list(MEASURED_COLUMNS))


class Told(Watcher):
    """Remembers what was said, and does something at an event."""

    def __init__(self, at: type[Event] | None = None, act: Callable[[], None] = lambda: None) -> None:
        self.said: list[str] = []
        self._at, self._act = at, act

    def say(self, line: str) -> None:
        self.said.append(line)

    def on_event(self, event: Event) -> None:
        if self._at is not None and isinstance(event, self._at):
            self._at = None
            self._act()


def stop() -> None:
    raise Interrupted


def test_a_study_is_at_its_address_and_can_be_used_from_elsewhere(server: Server, machine: Machine) -> None:
    here = selfsup.compare("digits", out=ADDRESS, command=f"selfsup run --out {ADDRESS}", **TINY)
    names = {name.removeprefix("lab/digits/") for name in server.names()}
    assert {"config.toml", "results.csv", "report.html", "cells/random-test_resnet-n5-s0/metrics.json"} <= names
    assert not [name for name in names if name.startswith("running/") or name.endswith(("lock", ".partial"))]
    machine("elsewhere")
    there = selfsup.load_study(ADDRESS)
    pd.testing.assert_frame_equal(there.results, here.results)
    there.load_backbone()
    assert find_cell(f"{ADDRESS}/random-test_resnet-n5-s0")[1].method == "random"
    before = server.client.head_object(Bucket="studies", Key="lab/digits/report.html")["ETag"]
    there.report()
    assert server.client.head_object(Bucket="studies", Key="lab/digits/report.html")["ETag"] != before
    figures = re.findall(r"!\[.*\]\((.+)\)", there.report("md").read_text())
    assert figures
    assert {"report.md", *figures} <= {name.removeprefix("lab/digits/") for name in server.names()}


@pytest.mark.usefixtures("without_pictures")
def test_a_finished_study_has_nothing_to_do_on_another_machine(server: Server, machine: Machine) -> None:
    first = numbers(selfsup.compare("digits", out=ADDRESS, **TINY))
    shutil.rmtree(machine("here"))
    told = Told()
    second = selfsup.compare("digits", out=ADDRESS, watcher=told, **TINY)
    assert any("Nothing to do: 2 cells" in line for line in told.said)
    pd.testing.assert_frame_equal(numbers(second), first)


@pytest.mark.usefixtures("without_pictures")
def test_a_study_interrupted_here_goes_on_there_from_its_checkpoint(
    server: Server, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = numbers(selfsup.compare("digits", out=tmp_path / "straight", **TINY))
    with pytest.raises(Interrupted):
        selfsup.compare("digits", out=ADDRESS, watcher=Told(EpochDone, stop), checkpoint_seconds=1e-9, **TINY)
    assert any("checkpoint" in name for name in server.names())
    machine("elsewhere")
    epochs = []

    class Counts(Watcher):
        def on_event(self, event: Event) -> None:
            if isinstance(event, EpochDone):
                epochs.append(event.epoch)

    resumed = selfsup.compare("digits", out=ADDRESS, watcher=Counts(), **TINY)
    assert epochs[-1] == 2
    pd.testing.assert_frame_equal(numbers(resumed), straight)
    assert not any("checkpoint" in name for name in server.names())


@pytest.mark.usefixtures("without_pictures")
def test_two_runs_at_one_address_are_refused(server: Server, machine: Machine) -> None:
    def another() -> None:
        machine("elsewhere")
        with pytest.raises(UserError, match="Another selfsup is at work on 's3://studies/lab/digits'"):
            selfsup.compare("digits", out=ADDRESS, **TINY)
        machine("here")

    selfsup.compare("digits", out=ADDRESS, watcher=Told(JobDone, another), **TINY)
    assert len(selfsup.load_study(ADDRESS).results) == 2


@pytest.mark.usefixtures("without_pictures")
def test_a_server_that_goes_away_costs_nothing(
    server: Server, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "LAST_WAITS", (0.1,))
    with pytest.raises(UserError, match=r"Not all could be uploaded.*the study is complete in .*the same command"):
        selfsup.compare("digits", out=ADDRESS, watcher=Told(JobDone, server.stop), **TINY)
    server.start_again()
    told = Told()
    study = selfsup.compare("digits", out=ADDRESS, watcher=told, **TINY)
    assert any("Nothing to do: 2 cells" in line for line in told.said)
    machine("elsewhere")
    pd.testing.assert_frame_equal(selfsup.load_study(ADDRESS).results, study.results)


@pytest.mark.usefixtures("without_pictures")
def test_an_address_that_another_run_has_taken_over_is_left_to_it(
    server: Server, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take() -> None:
        held = {"owner": "other", "host": "elsewhere", "pid": 1, "renewed": 9e9}
        key = f"lab/digits/{lease.LOCK}"
        server.client.put_object(Bucket="studies", Key=key, Body=json.dumps(held).encode())

    with pytest.raises(UserError, match="is another run's now, and what was done here is in"):
        selfsup.compare("digits", out=ADDRESS, watcher=Told(JobDone, take), **TINY)
    assert server.names() == {f"lab/digits/{lease.LOCK}"}


def test_a_bucket_that_is_not_there_is_said_before_anything_is_computed(server: Server, machine: Machine) -> None:
    with pytest.raises(UserError, match=r"'s3://nowhere/study' cannot be written to .*bucket does not exist"):
        selfsup.compare("digits", out="s3://nowhere/study", **TINY)
    with pytest.raises(UserError, match="'s3://studies/nothing' is not a study"):
        selfsup.load_study("s3://studies/nothing")


def test_a_server_that_is_not_there_is_said_within_seconds(
    server: Server, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.stop()
    with pytest.raises(UserError, match=r"Could not connect.*check the address, its credentials and the network"):
        selfsup.compare("digits", out=ADDRESS, **TINY)
    server.start_again()


def test_a_refused_run_leaves_nothing_there(server: Server, machine: Machine) -> None:
    with pytest.raises(UserError, match="resnet99"):
        selfsup.compare("digits", out=ADDRESS, **{**TINY, "backbone": "resnet99"})
    assert server.names() == set()
