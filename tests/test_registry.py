"""Implementations are found by looking at files, and a wrong name is met with the right ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import selfsup
from selfsup import registry
from selfsup.errors import UserError

PACKAGES = [
    "selfsup.methods",
    "selfsup.views",
    "selfsup.data.sources",
    "selfsup.execution.executors",
    "selfsup.report.trackers",
]


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A package `selfsup.shelf` that a test fills with modules."""
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "__init__.py").touch()
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "registry.py"))
    monkeypatch.setattr(selfsup, "__path__", [*selfsup.__path__, str(tmp_path)])
    yield tmp_path / "shelf"
    for name in [name for name in sys.modules if name.startswith("selfsup.shelf")]:
        del sys.modules[name]


def test_a_new_file_is_found_without_any_list(shelf: Path) -> None:
    assert registry.names("selfsup.shelf") == []
    (shelf / "barlow_twins.py").write_text("answer = 42\n")
    (shelf / "vicreg.py").touch()
    assert registry.names("selfsup.shelf") == ["barlow-twins", "vicreg"]
    assert registry.load("selfsup.shelf", "barlow-twins", kind="method").answer == 42


def test_shared_machinery_and_other_files_are_no_implementations(shelf: Path) -> None:
    for name in ("_queue.py", "base.py", "notes.txt", "real.py"):
        (shelf / name).touch()
    assert registry.names("selfsup.shelf") == ["real"]


def test_names_are_listed_without_importing_anything(shelf: Path) -> None:
    (shelf / "broken.py").write_text("raise RuntimeError('imported')\n")
    assert registry.names("selfsup.shelf") == ["broken"]
    with pytest.raises(RuntimeError, match="imported"):
        registry.load("selfsup.shelf", "broken", kind="method")


def test_listing_all_names_imports_no_torch() -> None:
    code = f"""
import sys
from selfsup import registry
print([registry.names(package) for package in {PACKAGES}], "torch" in sys.modules)
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "'simclr'" in output
    assert output.strip().endswith("False")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_listed_name_can_be_loaded(package: str) -> None:
    listed = registry.names(package)
    assert listed
    for name in listed:
        module = registry.load(package, name, kind="thing")
        assert module.__name__ == registry.module_name(package, name)
        assert module.__doc__


def test_a_near_miss_is_met_with_a_suggestion_and_the_whole_list() -> None:
    with pytest.raises(UserError) as refusal:
        registry.require(["moco", "simcrl"], ["byol", "moco", "simclr"], kind="method")
    assert str(refusal.value) == "Unknown method 'simcrl'. Did you mean 'simclr'? Known: byol, moco, simclr."


def test_a_name_like_no_other_is_met_with_the_list_alone() -> None:
    with pytest.raises(UserError) as refusal:
        registry.require(["zzz"], ["byol", "moco"], kind="method")
    assert str(refusal.value) == "Unknown method 'zzz'. Known: byol, moco."


def test_known_names_pass() -> None:
    registry.require(["moco"], iter(["byol", "moco"]), kind="method")
    registry.require([], [], kind="method")


@pytest.mark.parametrize("name", ["../errors", "methods.moco", "__init__", "os", "MOCO"])
def test_no_name_reaches_another_module(name: str) -> None:
    with pytest.raises(UserError, match="Unknown method"):
        registry.load("selfsup.methods", name, kind="method")
