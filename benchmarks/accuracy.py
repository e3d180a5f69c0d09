"""How soon the preset `recommended` reaches what the reference study's recipe reaches, and what each part gains.

A method is trained on the same real images by the recipe of the preset `full`, by that of `recommended`, and by that
with one part changed at a time (views of 32 px, or that grow; fewer epochs; an early stop; or the reference's schedule,
temperature, optimizer), at --image-size; with --reference-size 224 the reference has the size of its preset. Of the
learning rates given for a preset, one training each finds the one that does best on validation images, which the online
kNN that ends a training asks too. Accuracies are of a probe on further images that nothing was chosen on; seconds are
the process's own CPU time with one thread, kNN included. `recommended` takes at least 1,000 steps, however few the
images and epochs, and the reference as many as its epochs have; with --min-steps 0 so do both.

    python benchmarks/accuracy.py [--images 256] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cell import apart
from history import note
from selfsup.config.schema import StudyConfig
from selfsup.config.toml_files import load_values
from selfsup.config.validation import validate
from shared_images import Pictures, mean_and_error, probe_accuracy, write_pictures


@dataclass(frozen=True)
class Recipe:
    """A study's configuration, the method, and the learning rate that is used of the grid."""

    config: StudyConfig
    method: str
    lr: float

    def but(self, **changes: Any) -> Recipe:
        return replace(self, config=self.config.model_copy(update=changes))


@dataclass(frozen=True)
class Score:
    """Of one training: the probe's accuracies, CPU seconds and epochs."""

    val_accuracy: float
    accuracy: float
    seconds: float
    epochs: int


def recipe(preset: str, method: str, lr: float, **changes: Any) -> Recipe:
    return Recipe(validate(load_values(preset=preset) | changes), method, lr)


def ablations(reference: Recipe, recommended: Recipe) -> dict[str, Recipe]:
    """The two presets' recipes, and that of `recommended` with one part changed at a time, where that changes it."""
    theirs, ours, method = reference.config, recommended.config, recommended.method
    temperature = {name: value for name, value in theirs.settings[method].items() if name == "temperature"}
    changed = {
        "views of 32 px": recommended.but(image_size=32),
        "small views first": recommended.but(grow_from=0.5),
        "half the epochs": recommended.but(epochs=ours.epochs // 2),
        "early stop": recommended.but(schedule="constant", knn_every=4, patience=3),
        "- cosine and warm-up": recommended.but(schedule=theirs.schedule, warmup_epochs=theirs.warmup_epochs),
        "- temperature": recommended.but(settings={method: temperature} if temperature else {}),
        "- optimizer and heads": replace(recommended.but(settings=theirs.settings), lr=reference.lr),
        "reference, a fifth": reference.but(epochs=theirs.epochs // 5),
    }
    changes = {name: found for name, found in changed.items() if found != recommended}
    return {"reference": reference, "recommended": recommended, **changes}


def train(pictures: Pictures, chosen: Recipe, seed: int) -> Score:
    """store -> policy -> Training -> embed -> probe, as a worker of a study does it."""
    from selfsup.backbones import Backbone, build_backbone
    from selfsup.evaluation.embedding import embed
    from selfsup.evaluation.evaluators.knn import knn_predict
    from selfsup.methods import method_class, read_settings
    from selfsup.training.callbacks import Callbacks
    from selfsup.training.device import Hardware, choose_hardware, keep_freed_memory, make_deterministic
    from selfsup.training.loop import Training
    from selfsup.training.plan import TrainingPlan
    from selfsup.views import load_policy

    config = chosen.config
    keep_freed_memory()
    make_deterministic(1)
    torch.manual_seed(seed)
    store = pictures.store()
    labels, (val, test) = store.labels, np.array_split(np.random.default_rng(0).permutation(pictures.test), 2)

    def embedded(backbone: Backbone, indices: np.ndarray) -> np.ndarray:
        return embed(backbone, store, indices, image_size=config.image_size, device="cpu")

    class OnlineKnn(Callbacks):
        def score_epoch(self, epoch: int, backbone: Backbone) -> float | None:
            if not config.knn_every or epoch % config.knn_every:
                return None
            bank, asked = embedded(backbone, pictures.train), embedded(backbone, val)
            near = {"k": config.knn_neighbours, "temperature": config.knn_temperature}
            classes = len(store.classes)
            return float(
                (knn_predict(bank, labels[pictures.train], asked, num_classes=classes, **near) == labels[val]).mean()
            )

    plan = TrainingPlan(
        epochs=config.epochs,
        batch_size=config.batch_size,
        image_size=config.image_size,
        lr=chosen.lr,
        seed=seed,
        schedule=config.schedule,
        warmup_epochs=min(config.warmup_epochs, config.epochs / 10),
        grow_from=config.grow_from,
        patience=config.patience,
        min_steps=config.min_steps,
    )
    settings = read_settings(chosen.method, config.settings.get(chosen.method, {}))
    backbone = build_backbone("resnet18", image_size=config.image_size, stem=config.stem)
    method = method_class(chosen.method)(backbone, settings, num_images=len(pictures.train))
    fabric = Hardware("cpu", choose_hardware("cpu", "auto").precision).fabric()
    began = time.process_time()
    outcome = Training(method, store, pictures.train, None, load_policy("simclr"), plan, fabric, OnlineKnn()).run()
    seconds = time.process_time() - began
    features = embedded(method.encoder, pictures.train)
    val_accuracy, accuracy = (
        probe_accuracy(features, labels[pictures.train], embedded(method.encoder, part), labels[part])
        for part in (val, test)
    )
    return Score(val_accuracy, accuracy, seconds, len(outcome.state.log))


def choose(pictures: Pictures, preset: Recipe, lrs: list[float]) -> Recipe:
    """The recipe with the learning rate of the highest validation accuracy, tried with a seed of its own."""
    recipes = [replace(preset, lr=lr) for lr in lrs]
    return max(recipes, key=lambda tried: apart(train, pictures, tried, 1000).val_accuracy if len(lrs) > 1 else 0)


def compare(pictures: Pictures, recipes: dict[str, Recipe], repeats: int) -> None:
    """Train by every recipe with every seed and print its line."""
    reference: list[Score] = []
    for name, chosen in recipes.items():
        scores = [apart(train, pictures, chosen, seed) for seed in range(repeats)]
        reference = reference or scores
        share = np.median([a.seconds / b.seconds for a, b in zip(scores, reference, strict=True)])
        gains = [a.accuracy - b.accuracy for a, b in zip(scores, reference, strict=True)]
        gain, error = float(np.mean(gains)), float(np.std(gains, ddof=1) / np.sqrt(repeats))
        verdict = "reaches the reference" if gain >= -error else "falls short"
        accuracy = mean_and_error([score.accuracy for score in scores], len(pictures.test) // 2)
        epochs = "/".join(str(score.epochs) for score in scores)
        print(
            f"  {name:<26}{epochs:>12} epochs   time {share:5.2f} of the reference's   accuracy {accuracy}   "
            f"difference {gain:+.3f} ± {error:.3f}, {verdict}",
            flush=True,
        )
        note("accuracy", f"{chosen.method}, {name}", share_of_reference_time=float(share), accuracy_difference=gain)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="digits", help="name or folder, as for `selfsup run` (default digits)")
    parser.add_argument("--data-root", help="folder that holds a named data set's files")
    parser.add_argument("--method", default="simclr", help="simclr, moco or byol (default simclr)")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--reference-size", type=int, help="side of the reference's views (default: as the others')")
    parser.add_argument("--source-size", type=int, help="side of the source images (default: the view's)")
    parser.add_argument("--images", type=int, default=256, help="training images (default 256)")
    parser.add_argument("--test-images", type=int, default=1000, help="half to choose on, half to quote (default 1000)")
    parser.add_argument("--epochs", type=int, help="of both presets, at least 5 (default: the presets' own)")
    parser.add_argument("--min-steps", type=int, help="of both presets (default: the presets' own)")
    parser.add_argument("--repeats", type=int, default=3, help="at least 2 (default 3)")
    parser.add_argument("--lrs", default="0.03,0.1", help="of `recommended`, to choose from (default 0.03,0.1)")
    parser.add_argument("--reference-lrs", default="1e-4,3e-4", help="of `full` (default 1e-4,3e-4)")
    parser.add_argument("--only", help="names of recipes, comma-separated, after the reference (default all)")
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        help="a further recipe: settings that differ from `recommended`, as in 'image_size=64 epochs=50 grow_from=0.5'",
    )
    return parser.parse_args()


def altered(known: Recipe, text: str) -> Recipe:
    """The recipe with the settings in `text`, values as in JSON; ``lr`` is its learning rate."""
    changes = dict(part.split("=", 1) for part in text.split())
    lr = float(changes.pop("lr", known.lr))
    values = {name: value if name == "stem" else json.loads(value) for name, value in changes.items()}
    return replace(known.but(**values), lr=lr)


def main() -> None:
    given = options()
    grids = {"full": given.reference_lrs, "recommended": given.lrs}
    with tempfile.TemporaryDirectory() as folder:
        pictures = write_pictures(
            Path(folder),
            data=given.data,
            data_root=given.data_root,
            side=given.source_size or given.image_size,
            train=given.images,
            test=given.test_images,
        )
        pictures.store()
        print(f"{given.data}, {given.images} images, {given.image_size} px, {given.method}, torch {torch.__version__}")
        presets, asked = [], {"epochs": given.epochs, "min_steps": given.min_steps}
        length = {name: value for name, value in asked.items() if value is not None}
        for name, grid in grids.items():
            lrs = [float(lr) for lr in grid.split(",")]
            side = given.reference_size if name == "full" and given.reference_size else given.image_size
            presets.append(choose(pictures, recipe(name, given.method, lrs[0], image_size=side, **length), lrs))
            print(f"  {name}: learning rate {presets[-1].lr:g}", flush=True)
        recipes = ablations(*presets)
        wanted = given.only.split(",") if given.only else list(recipes)
        further = {text: altered(presets[1], text) for text in given.also}
        chosen = {name: found for name, found in recipes.items() if name == "reference" or name in wanted}
        compare(pictures, chosen | further, given.repeats)


if __name__ == "__main__":
    main()
