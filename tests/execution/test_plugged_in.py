"""What plug-ins bring runs wherever cells do: in workers, on several devices, and in executors of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from selfsup import plugins, registry
from selfsup.errors import UserError
from selfsup.execution.estimate import plan_study
from selfsup.execution.request import requested_run
from selfsup.study import Study, compare
from selfsup.testing.executors import TINY_STUDY

pytestmark = pytest.mark.usefixtures("without_pictures")

METHOD = """
'''SimCLR under another name.'''
from selfsup.methods.simclr import SimCLR

class Renamed(SimCLR):
    pass
"""
POLICY = "'''The weak policy under another name.'''\nfrom selfsup.views.weak_policy import policy\n"
SOURCE = """
'''Forty digits.'''
from selfsup.data.sources.base import Arrays, ArraySource
from selfsup.data.sources.digits import _load

def load():
    digits = _load()
    return Arrays(digits.images[:400], digits.labels[:400])

def open_source(options):
    return ArraySource("few-digits", load, identity="400", unlabelled=options.unlabelled)
"""
OLD_SOURCE = """
'''A data set as they were written before.'''

class Old:
    name, names, labels, official_test, ignored = "old", ["a"], ["b"], None, ()

def open_source(options):
    return Old()
"""
EXECUTOR = """
'''As inline, and writes down what it was told.'''
from pathlib import Path
from pydantic import Field
from selfsup.execution.executors.base import ExecutorOptions
from selfsup.execution.executors.inline import InlineExecutor

class NotedOptions(ExecutorOptions):
    note: str = "nothing"
    times: int = Field(1, ge=1)

class Noted(InlineExecutor):
    Options = NotedOptions

    def run(self, folder, *arguments):
        (folder.path / "note.txt").write_text(self.options.note * self.options.times)
        super().run(folder, *arguments)

executor = Noted
"""
STUDY: dict[str, Any] = {**TINY_STUDY, "methods": "renamed", "epochs": 1}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    texts = {"renamed": METHOD, "soft": POLICY, "few_digits": SOURCE, "noted": EXECUTOR}
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
    return {name: str(tmp_path / f"{name}.py") for name in texts}


def test_a_data_set_without_items_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text(OLD_SOURCE)
    with pytest.raises(UserError, match=r"'old' gives no items, which took the place of names, labels and official"):
        compare("old", plugin=str(tmp_path / "old.py"), out=tmp_path / "s", **TINY_STUDY)


def test_workers_load_what_the_study_keeps(files: dict[str, str], tmp_path: Path) -> None:
    brought = [files["renamed"], files["soft"], files["few_digits"]]
    study = compare("few-digits", plugin=brought, out=tmp_path / "s", **{**STUDY, "augmentations": "soft"})
    assert study.results[["cell", "status"]].values.tolist() == [["renamed-test_resnet-soft-lr0.03-n5-s0", "done"]]
    assert sorted(path.name for path in (study.path / plugins.FOLDER).iterdir()) == [
        "few_digits.py",
        "renamed.py",
        "soft.py",
    ]


def test_several_devices_train_it_together(files: dict[str, str], tmp_path: Path) -> None:
    study = compare("digits", plugin=files["renamed"], out=tmp_path / "s", **{**STUDY, "devices": 2})
    assert study.results.status.tolist() == ["done"]


def test_a_study_grows_by_one_and_then_needs_it_no_more(files: dict[str, str], tmp_path: Path) -> None:
    options: dict[str, Any] = {**TINY_STUDY, "executor": "inline", "epochs": 1, "out": tmp_path / "s"}
    compare("digits", **{**options, "methods": "random"})
    with pytest.raises(UserError, match="Unknown method 'renamed'"):
        compare("digits", **{**options, "methods": "renamed"})
    compare("digits", plugin=Path(files["renamed"]), **{**options, "methods": "renamed"})
    Path(files["renamed"]).unlink()
    registry.unplug()
    study = compare("digits", **{**options, "methods": "renamed", "seeds": 2})
    assert sorted(study.results.method) == ["random", "renamed", "renamed"]
    registry.unplug()
    asked = {**TINY_STUDY, "epochs": 1, "methods": "renamed"}
    values, _ = requested_run("digits", preset=None, config=None, options=asked, out=tmp_path / "s")
    assert len(plan_study(values, out=tmp_path / "s").finished) == 1
    registry.unplug()
    assert Study(tmp_path / "s").best().method == "renamed"
    with pytest.raises(UserError, match="Unknown method 'renamed'"):  # no other study has it
        compare("digits", **{**options, "methods": "renamed", "out": tmp_path / "other"})


def test_a_study_at_an_address_brings_them_to_another_machine(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {**STUDY, "executor": "inline", "out": f"file://{tmp_path}/there"}
    compare("digits", plugin=files["renamed"], **options)
    registry.unplug()
    monkeypatch.setenv("SELFSUP_CACHE", str(tmp_path / "another machine"))
    assert len(compare("digits", **{**options, "seeds": 2}).results) == 2


def test_an_executor_from_outside_is_told_its_options_as_methods_their_settings(
    files: dict[str, str], tmp_path: Path
) -> None:
    options: dict[str, Any] = {**TINY_STUDY, "methods": "random", "plugin": files["noted"], "executor": "noted"}
    study = compare("digits", out=tmp_path / "s", settings={"noted": {"note": "ab", "times": 2}}, **options)
    assert (study.path / "note.txt").read_text() == "abab"
    assert study.config.settings == {}
    with pytest.raises(UserError, match="--times = 0 does not fit"):
        compare("digits", out=tmp_path / "t", settings={"noted": {"times": 0}}, **options)
    with pytest.raises(UserError, match=r"Unknown option of --executor noted: 'tmies'. Did you mean 'times'"):
        compare("digits", out=tmp_path / "t", settings={"noted": {"tmies": 2}}, **options)
