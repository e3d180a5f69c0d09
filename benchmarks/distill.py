"""Whether a small student learns more from a trained network than from itself: `distill` beside SimCLR.

The same small network, from random weights, on the same images by the same policy. `distill` sees one view of an image
where SimCLR sees two, so at equal epochs it has half of its steps' work, and its teacher's embeddings of the images to
pay for; --epochs-of-distill gives it more. Seconds are CPU time of all that a study does for a method, per seed.
Accuracies are the linear probe's on test images; the teacher's own are those of the reference.

    python benchmarks/distill.py --teacher tf_efficientnet_lite0@FILE [--data digits,photographs] [--epochs 50]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import selfsup
from history import note
from recipes import images, values_for
from shared_images import mean_and_error


def measure(method: str, data: str, given: argparse.Namespace, **changes: Any) -> tuple[list[float], float, int]:
    """Test accuracies by seed, CPU seconds per seed, and the number of test images."""
    values = values_for(method, data, given, methods=method, lrs="1x", seeds=given.seeds, **changes)
    began = time.process_time()
    study = selfsup.compare(images(data, given.out), out=given.out / f"{Path(data).name}-{method}", **values)
    seconds = (time.process_time() - began) / given.seeds
    rows = study.results[study.results.method != "random"]
    return rows.test_accuracy.tolist(), seconds, study.folder.read_json("dataset.json")["test"]


def compare(data: str, given: argparse.Namespace) -> None:
    """Print a line for each, and what distillation is ahead by."""
    asked = {  # the first of them also imports and decodes, so it is the one whose time nobody compares
        "random": {"references": given.teacher},
        "simclr": {},
        "distill": {"epochs": given.epochs_of_distill or given.epochs},
    }
    found = {}
    for method, changes in asked.items():
        accuracies, seconds, tested = found[method] = measure(method, data, given, **changes)
        name = "teacher" if method == "random" else method
        print(f"  {name:<10}{seconds:8.1f} s   accuracy {mean_and_error(accuracies, tested)}", flush=True)
    (ours, mine, _), (theirs, others, _) = found["distill"], found["simclr"]
    gain = sum(ours) / len(ours) - sum(theirs) / len(theirs)
    print(f"  {data}: {gain:+.3f} in {mine / others:.2f} of SimCLR's time", flush=True)
    note("distill", f"{Path(data).name}, {given.backbone}", accuracy_difference=gain, share_of_time=mine / others)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--teacher", required=True, help="NAME or NAME@FILE")
    parser.add_argument("--data", default="digits,photographs", help="names or folders (default digits,photographs)")
    parser.add_argument("--backbone", default="resnet10t")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--epochs-of-distill", type=int, help="default: as many")
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        given.out = Path(scratch)
        for data in given.data.split(","):
            compare(data, given)


if __name__ == "__main__":
    main()
