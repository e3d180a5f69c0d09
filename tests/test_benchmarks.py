"""The benchmarks still work: what they import exists, and each runs to its end on the least that it takes."""

from __future__ import annotations

import ast
import importlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.execution.test_initial_weights import save_weights

from selfsup.backbones import build_backbone
from selfsup.backbones.tiny_convolution import TinyConv2d
from selfsup.methods import method_class, read_settings

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(BENCHMARKS.glob("*.py"))


def test_names_that_benchmarks_import_exist() -> None:
    imported = [
        (path.name, node.module, alias.name)
        for path in SCRIPTS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "selfsup"
        for alias in node.names
    ]
    assert len(imported) > len(SCRIPTS)
    missing = [entry for entry in imported if not exists(entry[1], entry[2])]
    assert missing == []


def exists(module: str, name: str) -> bool:
    """Whether `module` has such a name, or such a module in it."""
    try:
        return hasattr(importlib.import_module(module), name) or bool(importlib.import_module(f"{module}.{name}"))
    except ModuleNotFoundError:
        return False


#: The least that each script takes: what runs here is whether it works, and no number is read.
CELL = "--image-size 32 --images 24 --test-images 30 --epochs 1 --batch-size 12 --repeats 1 --threads 1"
LEAST = [
    "accuracy.py --images 20 --test-images 60 --epochs 5 --repeats 2 --lrs 0.03 --reference-lrs 1e-4,3e-4 "
    "--only 'recommended,small views first,early stop' --also 'epochs=2 lr=0.1'",
    "augmentation.py --rounds 1",
    f"cell.py {CELL} --methods simclr,moco,byol --loader-workers 0",
    f"cell.py {CELL} --methods dino --loader-workers 0",
    f"cell.py {CELL} --methods mae --backbone vit_tiny_patch16_224 --loader-workers 0",
    "classes.py --classes 20,120 --images 2 --width 16",
    "embedding.py --images 128 --repeats 1 --image-sizes 32 --networks resnet18 --clock cpu",
    "distill.py --teacher test_resnet@test_resnet.safetensors --data digits --backbone test_resnet --image-size 16 "
    "--epochs 1 --seeds 1",
    "fuse.py --device cpu --trainings 2 --images 24 --batch-size 12 --epochs 2",
    "gpu.py --device cpu --tiny --json gpu.json",
    "measures.py --images 100 --width 16 --image-size 32",
    "methods.py --out methods.csv --image-size 32 --images 24 --test-images 30 --epochs 1 --batch-size 12 --seeds 1 "
    "--threads 1 --methods simclr,swav,dino",
    "recipes.py --out studies --data digits --methods simclr --backbone test_resnet --image-size 16 --epochs 1",
    "scale.py --images 60 --classes 3 --megabytes 1 --pause 0.001",
    "scaling.py --cells 2000",
    "schedulers.py --methods simclr --lrs 0.01,0.03 --per-class 5 --epochs 4 --reduction-factor 2 --replicates 1",
    "startup.py --repeats 1 --methods simclr --backbone test_resnet --image-size 32 --per-class 5 --epochs 1",
    *(f"step.py --method {method} --batch-size 16 --steps 3" for method in ("simclr", "moco", "byol", "dino")),
    "step.py --method mae --backbone vit_tiny_patch16_224 --batch-size 16 --steps 3",
    "step.py --plain-convolutions --plain-memory --precision fp32 --batch-size 16 --steps 3",
    "steps.py digits --out steps --min-steps 0,3 --methods random --per-class 5 --backbone resnet10t --seeds 1",
    "store.py --images 20 --side 64 --many 1000",
    "study.py --images 120 --methods simclr --lrs 0.03 --epochs 1",
    "study.py --images 120 --methods simclr,dino --lrs 0.03 --epochs 1 --against one-worker",
    "time_by_kind.py --images 60 --preset quick --methods simclr --augmentations weak --lrs 1x --epochs 1",
]


def test_every_benchmark_is_run() -> None:
    started = {path.name for path in SCRIPTS if '__name__ == "__main__"' in path.read_text(encoding="utf-8")}
    run = {shlex.split(command)[0] for command in LEAST}
    assert run == started - {"photographs.py"}  # which needs scikit-image


@pytest.mark.slow
@pytest.mark.parametrize("command", LEAST, ids=lambda command: command.split()[0])
def test_benchmark_runs(command: str, tmp_path: Path) -> None:
    # From a copy: ratios of such runs have no place in history.csv.
    copy = shutil.copytree(BENCHMARKS, tmp_path / "benchmarks")
    for name in ("pyproject.toml", "tests"):  # which one of them reads and runs
        (tmp_path / name).symlink_to(BENCHMARKS.parent / name)
    save_weights(tmp_path / "test_resnet.safetensors")
    before = (copy / "history.csv").read_text(encoding="utf-8")
    script, *options = shlex.split(command)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    run = subprocess.run(
        [sys.executable, copy / script, *options], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()
    assert "Traceback" not in run.stdout
    notes = (copy / "history.csv").read_text(encoding="utf-8").removeprefix(before).splitlines()
    assert all(line.split(",")[5] == Path(script).stem for line in notes), "notes under another benchmark's name"


@pytest.mark.parametrize("name", ["resnet10t", "test_resnet"])
def test_the_ordinary_way_trains_the_network_that_selfsup_trains(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightly")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    ordinary = importlib.import_module("ordinary")
    backbone = build_backbone(name, image_size=32)
    method = method_class("simclr")(backbone, read_settings("simclr", {}), num_classes=2, num_images=8)
    images = torch.rand(4, 3, 32, 32)
    model = ordinary.SimCLR(method)
    torch.testing.assert_close(model.backbone(backbone.normalise(images)), backbone(images))
    assert not any(isinstance(module, TinyConv2d) for module in model.modules())
