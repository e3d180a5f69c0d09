"""Each method beside the same method in the ordinary way: whether it is worse, and how much faster.

selfsup's method, and lightly's classes (or a few lines of the paper's) in a plain loop, train a ResNet-18 on the same
images, by views of the same policy, for the same epochs, in the same batches, by AdamW at the same constant rate, and
are judged by the same probe. Every training has a process of its own, the two take turns, and what is done is kept in
--out: run it method by method, stop it, go on. A method is worse where the mean difference over the seeds is below
minus twice its standard error. `mae` is trained with a transformer (--methods mae --backbone
vit_tiny_patch16_224). `distill` has no such loop: it is tested against its paper's formula.

    python benchmarks/methods.py --out methods.csv [--methods simclr,swav] [--threads 1 --clock cpu]
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from joblib import cpu_count

from cell import (
    ORDINARY_RATE,
    Score,
    Task,
    apart,
    by_selfsup,
    in_the_ordinary_way,
    ordinary_settings,
    refuse_remainder,
)
from history import note
from shared_images import write_pictures

#: Methods that ordinary.py has; it imports lightly, which only the peers' processes need.
COMPARED = (
    "barlow-twins", "byol", "dcl", "dino", "lejepa", "moco", "moco-v3", "nnclr", "simclr", "simsiam", "supcon", "swav",
    "vicreg",
)  # fmt: skip
COLUMNS = ("method", "seed", "case", "selfsup_rate", "ordinary_rate", "selfsup_accuracy", "ordinary_accuracy")


@dataclass(frozen=True)
class Pair:
    """Both trainings of one method and seed."""

    ours: Score
    other: Score


def known(file: Path, case: str) -> dict[tuple[str, int], Pair]:
    """The pairs of this case that the file has."""
    if not file.exists():
        return {}
    with file.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["case"] == case]
    return {
        (row["method"], int(row["seed"])): Pair(
            *(Score(float(row[f"{who}_rate"]), float(row[f"{who}_accuracy"])) for who in ("selfsup", "ordinary"))
        )
        for row in rows
    }


def keep(file: Path, task: Task, case: str, pair: Pair) -> None:
    """Append a pair to the file."""
    new = not file.exists()
    with file.open("a", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        scores = (pair.ours.rate, pair.other.rate, pair.ours.accuracy, pair.other.accuracy)
        writer.writerow((task.method, task.seed, case, *(f"{value:.4g}" for value in scores)))


def conclude(method: str, case: str, pairs: list[Pair]) -> None:
    """Print a method's line."""
    differences = [pair.ours.accuracy - pair.other.accuracy for pair in pairs]
    mean, ratio = float(np.mean(differences)), float(np.median([pair.ours.rate / pair.other.rate for pair in pairs]))
    error = float(np.std(differences, ddof=1) / np.sqrt(len(pairs))) if len(pairs) > 1 else float("nan")
    verdict = "" if np.isnan(error) else ", not shown to be worse" if mean >= -2 * error else ", worse"
    ours, others = (np.mean([getattr(pair, who).accuracy for pair in pairs]) for who in ("ours", "other"))
    print(
        f"  {method:<13}accuracy {ours:.3f} and {others:.3f}, difference {mean:+.3f} ± {error:.3f}{verdict}; "
        f"{ratio:.2f} times the images per second",
        flush=True,
    )
    note("methods", f"{method}, {case}", speed_against_ordinary=ratio, accuracy_difference=mean)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="file of the pairs that are done, to go on with")
    parser.add_argument("--methods", default=",".join(COMPARED))
    parser.add_argument("--data", default="digits", help="name or folder, as for `selfsup run` (default digits)")
    parser.add_argument("--backbone", default="resnet18", help="mae: a transformer (default resnet18)")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--images", type=int, default=512, help="training images (default 512)")
    parser.add_argument("--test-images", type=int, default=700)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=ORDINARY_RATE)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="fp32", help="of selfsup")
    parser.add_argument("--threads", type=int, default=cpu_count())
    parser.add_argument("--loader-workers", type=int, default=0)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: with one thread and no workers")
    given = parser.parse_args()
    refuse_remainder(parser, given)
    if given.clock == "cpu":
        given.threads, given.loader_workers = 1, 0  # the clock does not see others, nor overlapping threads
    return given


def main() -> None:
    given = options()
    with tempfile.TemporaryDirectory() as folder:
        side = given.image_size * 8 // 7
        pictures = write_pictures(
            Path(folder), data=given.data, data_root=None, side=side, train=given.images, test=given.test_images
        )
        pictures.store()
        sizes = (given.image_size, given.epochs, given.batch_size, given.precision, given.threads, given.clock)
        drawn = f"{Path(given.data).name} {given.images}+{given.test_images}"
        case = f"{drawn} {given.backbone} {given.lr:g} {' '.join(map(str, sizes))}"
        done = known(given.out, case)
        print(f"{case}, torch {torch.__version__}")
        for method in given.methods.split(","):
            for seed in range(given.seeds):
                if (method, seed) in done:
                    continue
                task = Task(method, seed, given.backbone, *sizes)
                ours = apart(by_selfsup, task, pictures, ordinary_settings(method), given.lr)
                other = apart(in_the_ordinary_way, task, pictures, given.loader_workers, given.lr)
                done[method, seed] = Pair(ours, other)
                keep(given.out, task, case, done[method, seed])
            conclude(method, case, [done[method, seed] for seed in range(given.seeds)])


if __name__ == "__main__":
    main()
