"""The page docs/write-your-own-method.md, done as it says: its files are written, and its commands run."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest

from selfsup import registry
from selfsup.methods import method_class
from selfsup.views import load_policy

PAGE = Path(__file__).parents[1] / "docs" / "write-your-own-method.md"
#: What makes the page's studies small; the digits stand in for the reader's photos.
TINY = """
augmentations = ["weak"]
lrs = [0.05]
per_class = [5]
epochs = 2
backbone = "test_resnet"
image_size = 16
batch_size = 64
device = "cpu"
precision = "fp32"
threads = 1
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def write_files(folder: Path) -> None:
    for block in blocks("python"):
        first, _, rest = block.partition("\n")
        (folder / first.removeprefix("# ")).write_text(rest)


def commands() -> list[str]:
    return [line for block in blocks("bash") for line in block.splitlines()]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's files, where its commands have been run."""
    folder = tmp_path_factory.mktemp("desk")
    write_files(folder)
    (folder / "tiny.toml").write_text(TINY)
    return folder


def selfsup(desk: Path, command: str) -> subprocess.CompletedProcess[str]:
    arguments = shlex.split(command.replace("photos/", "digits"))
    assert arguments.pop(0) == "selfsup"
    if arguments[0] != "list":
        arguments += ["--config", "tiny.toml"]
    return subprocess.run([sys.executable, "-m", "selfsup", *arguments], cwd=desk, capture_output=True, text=True)


@pytest.mark.parametrize("file", ["test_uniformity.py", "test_policy_and_evaluator.py"])
def test_its_checks_pass(desk: Path, file: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file]
    done = subprocess.run(command, cwd=desk, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_its_method_is_listed_planned_run_resumed_and_refused_once_it_has_changed(desk: Path) -> None:
    list_, plan, run, _ = commands()
    assert "uniformity   Uniformity: two views of an image agree" in selfsup(desk, list_).stdout
    planned = selfsup(desk, plan)
    assert "uniformity-test_resnet-weak-lr0.05-n5-s0" in planned.stdout, planned.stderr
    done = selfsup(desk, run)
    assert done.returncode == 0, done.stderr
    study = desk / "my-study"
    results = pd.read_csv(study / "results.csv").set_index("cell")
    assert results.status.to_dict() == {
        "uniformity-test_resnet-weak-lr0.05-n5-s0": "done",
        "simclr-test_resnet-weak-lr0.05-n5-s0": "done",
    }
    log = pd.read_csv(study / "cells" / "uniformity-test_resnet-weak-lr0.05-n5-s0" / "training_log.csv")
    assert {"alignment", "uniformity"} <= set(log.columns)

    # A later run, and a report, need the study alone.
    kept = (desk / "uniformity.py").rename(desk / "elsewhere.txt")
    resumed = selfsup(desk, run.replace("--plugin uniformity.py ", "") + " --seeds 2")
    assert resumed.returncode == 0, resumed.stderr
    assert len(pd.read_csv(study / "results.csv")) == 4
    report = subprocess.run([sys.executable, "-m", "selfsup", "report", "my-study"], cwd=desk, capture_output=True)
    assert report.returncode == 0

    (desk / "uniformity.py").write_text(kept.read_text().replace("3.0", "2.0"))
    refused = selfsup(desk, run)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "(plugin: uniformity.py has changed since); use the old settings (it began as `" in refused.stderr


def test_its_policy_and_evaluator_are_part_of_a_study(desk: Path) -> None:
    done = selfsup(desk, commands()[-1])
    assert done.returncode == 0, done.stderr
    results = pd.read_csv(desk / "dimmed-study" / "results.csv")
    assert sorted(results.augmentation) == ["dimmed", "weak"]
    assert (results.mean_length > 0).all()
    assert ">length</button>" in (desk / "dimmed-study" / "report.html").read_text(encoding="utf-8")


def test_its_entry_points_bring_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (groups,) = (tomllib.loads(block)["project"]["entry-points"] for block in blocks("toml"))
    about = tmp_path / "my_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "".join(f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in named.items()) for group, named in groups.items())
    )
    (tmp_path / "my_package").mkdir()
    write_files(tmp_path / "my_package")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    assert method_class("uniformity").__name__ == "Uniformity"
    assert type(load_policy("dimmed")).__name__ == "DimmedPolicy"
    assert "uniformity" in registry.names(registry.METHOD)


def test_the_readme_leads_to_it() -> None:
    assert f"docs/{PAGE.name}" in (PAGE.parents[1] / "README.md").read_text(encoding="utf-8")
