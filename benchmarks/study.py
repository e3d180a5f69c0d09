"""A study by selfsup against as many of lightly's documented loops one after another: wall time.

selfsup runs `compare()` from the folder of images to the finished report: its workers' start, the
decoding, every cell's training, probe, maps and pictures. The peer, in one process with all cores,
decodes nothing, trains with the loop of its examples, embeds, and fits one probe per cell. The
number of its loader workers is 0 by default: on two cores that is what served it best. It drops the
last batch of an epoch, and the penalty of its probe is scikit-learn's default: selfsup's is chosen
on validation images, so the accuracies say whether anything is broken, and not which is better.

    python benchmarks/study.py [--methods simclr,moco,byol] [--lrs 0.03,0.06] [--epochs 10]
    python benchmarks/study.py --against one-worker     # selfsup again, one cell after another with all cores

On a machine that others use too, ``--clock cpu`` counts the CPU seconds of all processes instead, and
gives the peer one thread: the ratio is then what the wall clock would show where the cores are busy
throughout and the peer's second thread doubles its speed, which it does not.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import cpu_count

import selfsup
from cell import EXAMPLE_LOSS, apart, same_settings
from history import note
from shared_images import Pictures, probe_accuracy, write_pictures

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": lambda: sum(os.times()[:4])}


def by_selfsup(pictures: Pictures, out: Path, given: argparse.Namespace, **options: Any) -> tuple[float, list[float]]:
    """Seconds of the whole study and the test accuracy of every cell."""
    started = CLOCKS[given.clock]()
    study = selfsup.compare(
        pictures.folder,
        out=out,
        methods=given.methods,
        lrs=given.lrs,
        augmentations="simclr",
        per_class=given.per_class,
        epochs=given.epochs,
        batch_size=given.batch_size,
        image_size=given.image_size,
        schedule="constant",
        warmup_epochs=0,
        weights="none",
        references=(),
        settings={name: same_settings(name) for name in given.methods},
        keep="none",
        **options,
    )
    return CLOCKS[given.clock]() - started, study.results["test_accuracy"].tolist()


def by_lightly(pictures: Pictures, train: np.ndarray, test: np.ndarray, given: argparse.Namespace) -> tuple:
    """Seconds of all loops, one after another, and the test accuracy of each."""
    import peers

    torch.set_num_threads(1 if given.clock == "cpu" else cpu_count())
    train_images, test_images = pictures.images(train), pictures.images(test)
    labels = pictures.store().labels
    assert labels is not None
    accuracies = []
    started = CLOCKS[given.clock]()
    for method in given.methods:
        for lr in given.lrs:
            trained = peers.train(
                method,
                train_images,
                size=given.image_size,
                epochs=given.epochs,
                batch_size=given.batch_size,
                workers=given.loader_workers,
                seed=0,
                lr=lr / EXAMPLE_LOSS[method],
            )
            train_x, test_x = (
                peers.embed(trained.backbone, images, given.image_size) for images in (train_images, test_images)
            )
            accuracies.append(probe_accuracy(train_x, labels[train], test_x, labels[test]))
    return CLOCKS[given.clock]() - started, accuracies


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="digits", help="name or folder, as for `selfsup run` (default digits)")
    parser.add_argument("--data-root", help="folder that holds a named data set's files")
    parser.add_argument("--images", type=int, default=1797, help="of which 70%% are trained on (default 1797)")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--methods", type=lambda text: text.split(","), default=["simclr", "moco", "byol"])
    parser.add_argument("--lrs", type=lambda text: [float(lr) for lr in text.split(",")], default=[0.03, 0.06])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--loader-workers", type=int, default=0)
    parser.add_argument("--per-class", default="all", help="other than all with --against one-worker only")
    parser.add_argument("--against", choices=["lightly", "one-worker"], default="lightly")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    return parser.parse_args()


def main() -> None:
    given = options()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        side = given.image_size * 8 // 7
        pictures = write_pictures(
            root, data=given.data, data_root=given.data_root, side=side, train=given.images, test=0
        )
        seconds, accuracies = by_selfsup(pictures, root / "study", given)
        with np.load(root / "study" / "split.npz") as split:
            train, test = split["train"], split["test"]
        if given.against == "lightly":
            other_seconds, other_accuracies = apart(by_lightly, pictures, train, test, given)
        else:
            one = {"workers": 1, "threads": cpu_count()}
            other_seconds, other_accuracies = by_selfsup(pictures, root / "one", given, **one)
    print(
        f"{len(accuracies)} cells, {len(train)} training images, views of {given.image_size} px, "
        f"{given.epochs} epochs, {cpu_count()} cores, {given.clock} clock"
    )
    print(f"  selfsup  {seconds:8.1f} s   mean accuracy {np.mean(accuracies):.3f}")
    print(f"  {given.against:<9}{other_seconds:8.1f} s   mean accuracy {np.mean(other_accuracies):.3f}")
    print(f"  selfsup is {other_seconds / seconds:.2f} x as fast")
    case = f"{len(accuracies)} cells, {given.image_size} px, {given.epochs} epochs, {given.clock} clock"
    note("study", case, **{f"speed_against_{given.against.replace('-', '_')}": other_seconds / seconds})


if __name__ == "__main__":
    main()
