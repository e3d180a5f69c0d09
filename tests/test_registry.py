"""Implementations are found by looking at files and entry points; a wrong name is met with the right ones."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import selfsup
from selfsup import registry
from selfsup.errors import UserError
from selfsup.methods import Method, method_class
from selfsup.registry import Kind

SHELF = Kind("toy", "selfsup.shelf", "answer", group="selfsup.toys")
OTHERS = Kind("toy", "selfsup.shelf", "answer", suffix="_toy")


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A package `selfsup.shelf` that a test fills with modules."""
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "__init__.py").touch()
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "registry.py"))
    monkeypatch.setattr(selfsup, "__path__", [*selfsup.__path__, str(tmp_path)])
    yield tmp_path / "shelf"
    for name in [name for name in sys.modules if name.startswith("selfsup.shelf")]:
        del sys.modules[name]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An installed package `outside-toys` with a module `outside_toys`; a test writes its entry points."""
    site = tmp_path / "site"
    about = site / "outside_toys-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-toys\nVersion: 1.0\n")
    (site / "outside_toys.py").write_text('"""A toy from outside."""\n\nanswer = 42\nother = 43\n')
    monkeypatch.syspath_prepend(str(site))
    yield about / "entry_points.txt"
    sys.modules.pop("outside_toys", None)


def test_a_new_file_is_found_without_any_list(shelf: Path) -> None:
    assert registry.names(SHELF) == []
    (shelf / "barlow_twins.py").write_text("answer = 42\n")
    (shelf / "vicreg.py").touch()
    importlib.invalidate_caches()
    assert registry.names(SHELF) == ["barlow-twins", "vicreg"]
    assert registry.load(SHELF, "barlow-twins") == 42


def test_shared_machinery_and_other_files_are_no_implementations(shelf: Path) -> None:
    for name in ("_queue.py", "base.py", "notes.txt", "real.py"):
        (shelf / name).touch()
    assert registry.names(SHELF) == ["real"]


def test_of_a_package_that_holds_more_only_the_files_with_its_ending_are_implementations(shelf: Path) -> None:
    (shelf / "blur.py").touch()
    (shelf / "wooden_horse_toy.py").write_text('"""Rocks."""\nanswer = 1\n')
    importlib.invalidate_caches()
    assert registry.names(OTHERS) == ["wooden-horse"]
    assert registry.load(OTHERS, "wooden-horse") == 1
    assert registry.first_line(OTHERS, "wooden-horse") == "Rocks."


def test_names_are_listed_without_importing_anything(shelf: Path) -> None:
    (shelf / "broken.py").write_text("raise RuntimeError('imported')\n")
    assert registry.names(SHELF) == ["broken"]
    with pytest.raises(RuntimeError, match="imported"):
        registry.load(SHELF, "broken")


def test_a_file_that_holds_none_is_named(shelf: Path) -> None:
    (shelf / "empty.py").touch()
    importlib.invalidate_caches()
    with pytest.raises(UserError, match="selfsup defines 0 of what can be toy 'empty'"):
        registry.load(SHELF, "empty")


def test_listing_all_names_imports_no_torch() -> None:
    code = """
import sys
from selfsup import registry
print([registry.names(kind) for kind in registry.KINDS], "torch" in sys.modules)
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "'simclr'" in output
    assert output.strip().endswith("False")


@pytest.mark.parametrize("kind", registry.KINDS, ids=lambda kind: kind.word)
def test_every_listed_name_can_be_loaded_and_says_what_it_is(kind: Kind) -> None:
    listed = registry.ours(kind)
    assert listed
    for name in listed:
        assert registry.load(kind, name) is not None
        assert registry.first_line(kind, name).endswith(".")


def test_the_method_of_a_file_is_the_class_that_it_defines() -> None:
    found = registry.load(registry.METHOD, "simclr")
    assert found is method_class("simclr")
    assert issubclass(found, Method)
    assert found.__name__ == "SimCLR"


# -- what other packages bring ---------------------------------------------------------------------


def test_an_installed_package_brings_what_its_entry_points_name(installed: Path, shelf: Path) -> None:
    installed.write_text("[selfsup.toys]\nspinning_top = outside_toys\nyo-yo = outside_toys:other\n")
    assert registry.names(SHELF) == ["spinning-top", "yo-yo"]
    assert registry.first_line(SHELF, "yo-yo") == "A toy from outside."
    assert "outside_toys" not in sys.modules, "imported before it was asked for"
    assert registry.load(SHELF, "spinning-top") == 42
    assert registry.load(SHELF, "yo-yo") == 43


def test_a_name_that_cannot_stand_in_an_id_is_left_out(installed: Path, shelf: Path) -> None:
    installed.write_text("[selfsup.toys]\n../up = outside_toys\nTop = outside_toys\ntop = outside_toys\n")
    assert registry.names(SHELF) == ["top"]


def test_a_name_that_two_bring_is_refused_and_both_are_named(installed: Path, shelf: Path) -> None:
    installed.write_text("[selfsup.toys]\ntop = outside_toys\nkite = outside_toys\n")
    (shelf / "top.py").write_text("answer = 1\n")
    importlib.invalidate_caches()
    assert registry.names(SHELF) == ["kite", "top"]
    assert registry.load(SHELF, "kite") == 42  # the others can be used
    with pytest.raises(UserError) as refusal:
        registry.load(SHELF, "top")
    assert str(refusal.value) == (
        "The toy 'top' is brought by selfsup and the package 'outside-toys'; rename one, or leave it out."
    )


@pytest.mark.parametrize("broken", ["outside_toys:missing", "no_such_module", "outside_toys_broken"])
def test_what_cannot_be_imported_is_said_in_a_sentence(installed: Path, shelf: Path, broken: str) -> None:
    (installed.parent.parent / "outside_toys_broken.py").write_text("1 / 0\n")
    installed.write_text(f"[selfsup.toys]\ntop = {broken}\n")
    importlib.invalidate_caches()
    assert registry.names(SHELF) == ["top"]
    with pytest.raises(UserError, match=r"What the package 'outside-toys' brings cannot be imported \(.*Error: .*\)"):
        registry.load(SHELF, "top")


def test_a_method_from_an_installed_package_is_a_method_like_ours(installed: Path) -> None:
    installed.write_text("[selfsup.methods]\nmean-teacher = outside_method:MeanTeacher\n")
    (installed.parent.parent / "outside_method.py").write_text(
        '"""Follows its own mean."""\nfrom selfsup.methods import Method\nclass MeanTeacher(Method):\n    pass\n'
    )
    importlib.invalidate_caches()
    assert "mean-teacher" in registry.names(registry.METHOD)
    assert "mean-teacher" not in registry.ours(registry.METHOD)
    assert method_class("mean-teacher").__name__ == "MeanTeacher"


# -- wrong names -----------------------------------------------------------------------------------


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
        registry.load(registry.METHOD, name)
