"""What a study remembers of its runs, and when one more has nothing to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image
from tests.weights_hub import Hub

import selfsup
from selfsup.execution import history
from selfsup.execution.history import already_finished, repeat_run, runs_of
from selfsup.execution.request import requested_run
from selfsup.execution.watchers import Watcher
from selfsup.record.folder import StudyFolder

ASKED = {
    "backbone": "test_resnet", "methods": "random", "references": "none", "image_size": 16, "per_class": "2",
    "seeds": 2, "executor": "inline", "threads": 1, "device": "cpu",
}  # fmt: skip
GROUPS = "path,group\n" + "".join(f"{'ab'[number % 2]}/{number}.png,g{number // 2}\n" for number in range(16))


class Listener(Watcher):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


def save_images(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(16):
        (folder / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8))
        picture.save(folder / "ab"[number % 2] / f"{number}.png")
    (folder.parent / "groups.csv").write_text(GROUPS)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of a study and, beside them, the study, at its end; read only."""
    from undrawn import undrawn

    root = tmp_path_factory.mktemp("history")
    with undrawn():
        selfsup.compare(save_images(root / "photos"), out=root / "study", group=str(root / "groups.csv"), **ASKED)
    (root / "study" / "report.html").touch()
    return root


@pytest.fixture
def root(finished: Path) -> Path:
    """The same, to be put back when the test has changed it."""
    kept = finished.with_name("kept")
    shutil.copytree(finished, kept)
    yield finished
    shutil.rmtree(finished)
    kept.rename(finished)


def left_alone(root: Path, **other: Any) -> bool:
    """Whether the same command has nothing to do; or one that differs in the `other` values."""
    options = {"group": str(root / "groups.csv"), **ASKED, **other}
    values, _ = requested_run(str(root / "photos"), preset=None, config=None, options=options, out=root / "study")
    return already_finished(StudyFolder(root / "study"), values) == 2


def test_the_same_command_on_the_same_images_has_nothing_to_do(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selfsup.execution.run.StudyRun.execute", lambda *_: pytest.fail("it is run"))
    told, before = Listener(), runs_of(StudyFolder(finished / "study"))
    options = {"group": str(finished / "groups.csv"), **ASKED}
    study = selfsup.compare(
        finished / "photos", out=finished / "study", watcher=told, command="selfsup run photos", **options
    )
    assert told.said == ["Nothing to do: 2 cells finished before."]
    assert len(study.results) == 2
    runs = runs_of(study.folder)
    assert len(runs) == len(before) + 1
    assert runs[-1]["command"] == "selfsup run photos"
    assert left_alone(finished)


CHANGES: dict[str, Callable[[Path], object]] = {
    "an image more": lambda root: shutil.copy(root / "photos/a/0.png", root / "photos/a/more.png"),
    "an image less": lambda root: (root / "photos/a/0.png").unlink(),
    "an image in another class": lambda root: (root / "photos/a/0.png").rename(root / "photos/b/0.png"),
    "an image that was written anew": lambda root: Image.new("RGB", (16, 16)).save(root / "photos/a/0.png"),
    "a cell that was removed": lambda root: shutil.rmtree(next((root / "study/cells").iterdir())),
    "no report": lambda root: (root / "study/report.html").unlink(),
    "other groups": lambda root: (root / "groups.csv").write_text(
        (root / "groups.csv").read_text().replace("g7", "g6")
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_has_changed_is_noticed(root: Path, change: Callable[[Path], object]) -> None:
    assert left_alone(root)
    change(root)
    assert not left_alone(root)


@pytest.mark.parametrize("other", [{"seeds": 3}, {"per_class": "3"}, {"workers": 2}, {"unlabelled": True}], ids=str)
def test_another_command_is_left_to_a_run(finished: Path, other: dict[str, Any]) -> None:
    assert not left_alone(finished, **other)


def test_another_version_is_left_to_a_run(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "__version__", "0.3.0")
    assert not left_alone(finished)


def test_a_run_that_was_stopped_has_something_to_do(root: Path) -> None:
    folder = StudyFolder(root / "study")
    about = folder.read_json("run.json")
    del about["runs"][-1]["ended"]
    folder.write_json("run.json", about)
    assert not left_alone(root)


def test_a_reference_that_can_be_had_by_now_is_something_to_do(root: Path, hub_at: Callable[[str], None]) -> None:
    folder = StudyFolder(root / "study")
    about = folder.read_json("run.json")
    about["runs"][-1]["without"] = {"test_resnet.r160_in1k": "timm/test_resnet.r160_in1k"}
    folder.write_json("run.json", about)
    assert left_alone(root)
    hub = Hub(b"weights")
    hub.known = "/timm/test_resnet.r160_in1k/"
    try:
        hub_at(hub.address)
        assert not left_alone(root)
    finally:
        hub.close()
    repeat_run(folder, None)
    assert history.not_compared(folder) == {"test_resnet.r160_in1k": "timm/test_resnet.r160_in1k"}


def test_it_is_seen_without_torch() -> None:
    code = "import sys, selfsup.execution.history, selfsup.execution.request, selfsup.study\n"
    code += "assert not {'torch', 'timm', 'pandas', 'sklearn', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_file_of_weights_that_was_written_since_is_noticed_and_one_that_is_gone_is_not(root: Path) -> None:
    file = root / "weights" / "test_resnet.pth"
    file.parent.mkdir()
    file.touch()
    folder = StudyFolder(root / "study")
    folder.write_config(folder.read_config().model_copy(update={"references": (f"test_resnet@{file.parent}",)}))
    assert not left_alone(root)
    os.utime(file, (0, 0))
    assert left_alone(root)
    file.unlink()
    assert left_alone(root)


def test_no_secret_of_an_address_is_in_what_a_study_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from undrawn import undrawn

    monkeypatch.setenv("SELFSUP_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    address = "memory://me:SECRET@lab/photos"
    memory.put(str(save_images(tmp_path / "photos")), "/me:SECRET@lab/photos", recursive=True)
    command = f"selfsup run {address} --data-url 'https://lab.org/photos.zip?token=SECRET'"
    with undrawn():
        study = selfsup.compare(address, out=tmp_path / "study", command=command, **ASKED)
    study.report()
    memory.store.clear()
    told = [path for path in tmp_path.rglob("*") if path.is_file() and b"SECRET" in path.read_bytes()]
    assert {path.relative_to(study.path).as_posix() for path in told} == {"config.toml"}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in told)
    assert runs_of(study.folder)[0]["command"] == (
        "selfsup run memory://me@lab/photos --data-url 'https://lab.org/photos.zip?…'"
    )
