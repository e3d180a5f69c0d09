"""The benchmarks still work: what they import exists, and each runs to its end on the least that it takes."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image
from tests.execution.test_initial_weights import save_weights
from torch import Tensor
from torch.nn import functional as F

from selfsup.backbones import build_backbone
from selfsup.backbones.tiny_convolution import TinyConv2d
from selfsup.config.schema import StudyConfig
from selfsup.methods import method_class, read_settings
from selfsup.methods.base import Batch, Progress

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
    "accuracy.py --images 20 --test-images 60 --epochs 5 --min-steps 0 --repeats 2 --lrs 0.03 "
    "--reference-lrs 1e-4,3e-4 --only 'recommended,small views first,early stop' --also 'epochs=2 lr=0.1'",
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
    "study.py --images 120 --batch-size 32 --methods simclr --lrs 0.03 --epochs 1",
    "study.py --images 120 --methods simclr,dino --lrs 0.03 --epochs 1 --against one-worker",
    "time_by_kind.py --images 60 --preset quick --methods simclr --augmentations weak --lrs 1x --epochs 1",
]


def test_every_benchmark_is_run() -> None:
    started = {path.name for path in SCRIPTS if '__name__ == "__main__"' in path.read_text(encoding="utf-8")}
    run = {shlex.split(command)[0] for command in LEAST}
    assert run == started - {"photographs.py"}  # which needs scikit-image


def documented() -> list[tuple[str, str]]:
    """Scripts and options of the commands that are named beside numbers."""
    root = BENCHMARKS.parent
    pages = "\n\n".join(
        path.read_text(encoding="utf-8") for path in (root / "README.md", *(root / "docs").glob("*.md"))
    )
    found = re.findall(r"python\s+benchmarks/(\w+\.py)(.*?)(?=`|;|\n\n|\()", pages, flags=re.DOTALL)
    return sorted({(script, option) for script, rest in found for option in re.findall(r"--[a-z][a-z-]*", rest)})


def test_options_of_documented_commands_exist() -> None:
    of_studies = {f"--{name.replace('_', '-')}" for name in StudyConfig.model_fields}
    assert len(documented()) > 40
    for script, option in documented():
        own = f'"{option}"' in (BENCHMARKS / script).read_text(encoding="utf-8")
        passed_on = script in ("time_by_kind.py", "startup.py") and option in of_studies | {"--preset"}
        assert own or passed_on, f"{script} has no {option}"


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


@pytest.fixture
def ordinary(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The loops that methods are compared with."""
    pytest.importorskip("lightly")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("ordinary")


def method_of(name: str, network: str, **settings: Any) -> Any:
    backbone = build_backbone(network, image_size=32)
    return method_class(name)(backbone, read_settings(name, settings), num_classes=2, num_images=64)


@pytest.mark.parametrize(
    ("name", "network"), [("simclr", "resnet10t"), ("simclr", "test_resnet"), ("dino", "test_vit"), ("mae", "test_vit")]
)
def test_the_ordinary_way_begins_with_the_network_that_selfsup_trains(
    name: str, network: str, ordinary: ModuleType
) -> None:
    method = method_of(name, network)
    images = torch.rand(4, 3, 32, 32)
    model = ordinary.MODELS[name](method)
    mean, std = ordinary.normalisation(method.backbone)
    given = (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(model.backbone(given), method.backbone(images))
    assert not any(isinstance(module, TinyConv2d) for module in model.modules())


def view_of(side: int) -> Tensor:
    """Eight images that differ, as images do: noise is alike to a network."""
    return torch.rand(8, 3, 1, 1) * F.interpolate(torch.rand(8, 3, 4, 4), side)


def heads_of(method: Any) -> list[torch.nn.Parameter]:
    """What is trained beside the backbone, prototypes last."""
    named = [(name, p) for name, p in method.named_parameters() if p.requires_grad and not name.startswith("backbone.")]
    return [p for _, p in sorted(named, key=lambda pair: "prototypes" in pair[0] or "last_layer" in pair[0])]


def gradient(parameters: Iterable[torch.nn.Parameter]) -> Tensor:
    """Of all of them, at length 1: AdamW does not see how long it is."""
    return F.normalize(torch.cat([p.grad.flatten().double() for p in parameters if p.grad is not None]), dim=0)


@pytest.mark.parametrize(
    "name",
    [
        *("barlow-twins", "byol", "dcl", "dino", "lejepa", "moco", "moco-v3", "nnclr"),
        *("simclr", "simsiam", "supcon", "swav", "vicreg"),
    ],
)
def test_the_ordinary_way_learns_what_selfsup_learns(name: str, ordinary: ModuleType) -> None:
    torch.manual_seed(0)
    ours = method_of(name, "test_resnet", **ordinary.SAME.get(name, {}))
    model = ordinary.MODELS[name](ours)
    views = {group.name: [view_of(group.pixels(32)) for _ in range(group.count)] for group in ours.view_groups()}
    ours.eval(), model.eval()  # or batch normalisation would see one view there, and all of a size here
    with torch.no_grad():
        for of_ours, of_model in zip(heads_of(ours), heads_of(model), strict=True):
            of_model.copy_(of_ours)
        if name == "moco":
            model.criterion.memory_bank.bank.copy_(ours.queue.keys)
        if name == "nnclr":  # among the images, so that each has a neighbour of its own
            ours.support.push(ours.projector(ours.backbone(torch.cat(views["global"]))))
            model.bank.bank.copy_(ours.support.keys)
        model.momentum = 0.0
        model.after_step()  # momentum encoders are what they follow
    labels = torch.arange(8) % 2
    for seeded in (ours, model):
        torch.manual_seed(1)  # of LeJEPA's directions
        if seeded is ours:
            ours.loss(Batch(views, labels, Progress(3, 10, 2), {}, torch.arange(8))).loss.backward()
        else:
            plain = [ours.backbone.normalise(view) for group in views.values() for view in group]
            model.loss(plain[:2], plain[2:], labels, 0.4).backward()
    for parts in ((ours.backbone.parameters(), model.backbone.parameters()), (heads_of(ours), heads_of(model))):
        assert (gradient(parts[0]) - gradient(parts[1])).norm() < 1e-3


def test_a_comparison_whose_last_batch_would_be_short_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    cell = importlib.import_module("cell")
    with pytest.raises(SystemExit):
        cell.refuse_remainder(ArgumentParser(), Namespace(images=600, batch_size=128))
    cell.refuse_remainder(ArgumentParser(), Namespace(images=512, batch_size=128))


def test_a_peer_that_would_train_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightly")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    images = [Image.new("RGB", (32, 32))] * 20
    with pytest.raises(SystemExit, match="The 20 training images are no whole batch of 64"):
        importlib.import_module("peers").train("simclr", images, size=32, epochs=1, batch_size=64, workers=0, seed=0)


def test_studies_beside_peers_begin_from_random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    asked: dict[str, Any] = {}

    def compare(*_: Any, **values: Any) -> None:
        asked.update(values)
        raise InterruptedError

    monkeypatch.setattr("selfsup.compare", compare)
    of_both = {"methods": ["simclr"], "lrs": [0.03], "epochs": 1, "batch_size": 8, "image_size": 32}
    given = Namespace(**of_both, clock="wall", per_class="all")
    with pytest.raises(InterruptedError):
        importlib.import_module("study").by_selfsup(Namespace(folder="x"), Path("x"), given)
    wanted = {**of_both, "weights": "none", "references": (), "schedule": "constant", "warmup_epochs": 0}
    assert asked == asked | wanted
