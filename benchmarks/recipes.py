"""Whether each method's recipe fits small data: 0.3, 1 and 3 times its learning rate, on two kinds of images.

A study per data set, of the preset `recommended` (its epochs and batches) with a small network, so whatever is finished
is not done again: run it method by method, stop it, go on. Accuracies are the linear probe's on test images. A recipe
fits where its own rate is within two points of the best of the three; a method that needs a transformer is trained with
one. Photographs need scikit-image; a folder of images can take their place.

    python benchmarks/recipes.py --out FOLDER [--methods simclr,swav] [--data digits,photographs] [--epochs 50]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import selfsup
from selfsup.methods import method_class, method_names

#: Multiples of a recipe's rate, and by how much the recipe's own may be worse than the best.
MULTIPLES, MARGIN = ("0.3x", "1x", "3x"), 0.02
#: What is held out, and the training images of a class: as few as studies begin with, and a test that tells two points.
SHARES = {"digits": {"test_fraction": 0.4, "per_class": 60}, "photographs": {"test_fraction": 0.45, "per_class": 30}}


def images(name: str, out: Path) -> str:
    """Data set or folder that goes by this name."""
    if name != "photographs":
        return name
    folder = out / name
    if not folder.exists():
        subprocess.run(
            [sys.executable, Path(__file__).with_name("photographs.py"), folder, "--side", "48", "--most", "100"],
            check=True,
        )
    return str(folder)


def values_for(method: str, data: str, given: argparse.Namespace, **changes: Any) -> dict[str, Any]:
    """A study's configuration for one method on one data set, with a small network from random weights."""
    tokens = method_class(method).tags.needs_tokens
    return {
        "backbone": given.transformer if tokens else given.backbone,
        "augmentations": "simclr",
        "min_steps": 0,  # a hundred epochs, as long as rates were looked at
        "image_size": 2 * given.image_size if tokens else given.image_size,  # or there would be four patches
        "references": "none",
        "weights": "none",
        "keep": "none",
        "executor": "inline",
        "threads": 1,
        **SHARES.get(data, SHARES["photographs"]),
        **({"epochs": given.epochs} if given.epochs else {}),
        **({"settings": {method: {"teacher": given.teacher}}} if method == "distill" else {}),
        **changes,
    }


def train(method: str, data: str, given: argparse.Namespace) -> tuple[pd.DataFrame, int]:
    """The method at its three rates, and the network untrained: their rows of the results; and how many images test."""
    values = values_for(method, data, given, methods=f"random,{method}", lrs=",".join(MULTIPLES))
    kind = f"{values['backbone']}{'-distill' * (method == 'distill')}"
    study = selfsup.compare(images(data, given.out), out=given.out / f"{Path(data).name}-{kind}", **values)
    tested = len(np.load(study.path / "split.npz")["test"])
    return study.results[study.results.method.isin(["random", method])], tested


def line(method: str, data: str, rows: pd.DataFrame, tested: int) -> dict[str, Any]:
    """What became of one method on one data set; `half` is of the 95 % interval over test images, at 1x."""
    mine = rows[rows.method == method].set_index("lr_multiple")
    accuracy = mine.test_accuracy.where(mine.status == "done")
    own, best = accuracy.get(1.0), accuracy.max()
    return {
        "data": data,
        "method": method,
        "random": rows[rows.method == "random"].test_accuracy.iloc[0],
        **{multiple: accuracy.get(float(multiple[:-1])) for multiple in MULTIPLES},
        "half": 1.96 * (own * (1 - own) / tested) ** 0.5,
        "fits": bool(own >= best - MARGIN),
        "ended": mine.status.get(1.0),
    }


def main() -> None:
    trained = [name for name in method_names() if method_class(name).tags.trains]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where the studies are kept, to go on with them")
    parser.add_argument("--data", default="digits,photographs", help="names or folders (default digits,photographs)")
    parser.add_argument("--methods", help="default: all that train; distill, where --teacher is given")
    parser.add_argument("--teacher", help="of distill, as in --set distill.teacher=…")
    parser.add_argument("--backbone", default="resnet10t")
    parser.add_argument(
        "--transformer", default="vit_tiny_patch16_224", help="for methods that need one, at twice the size"
    )
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, help="default: those of `recommended`")
    given = parser.parse_args()
    methods = given.methods.split(",") if given.methods else trained
    lines = []
    for method in methods:
        if method == "distill" and not given.teacher:
            continue
        for data in given.data.split(","):
            lines.append(line(method, data, *train(method, data, given)))
            print(pd.DataFrame(lines[-1:]).to_string(index=False, header=len(lines) == 1), flush=True)
    table = pd.DataFrame(lines)
    print(f"\n{table.round(3).to_string(index=False)}\n")
    failed = ", ".join(dict.fromkeys(table[table.ended != "done"].method)) or "none"
    print(f"The recipe's rate fits in {table.fits.sum()} of {len(table)}; collapsed or diverged at it: {failed}.")


if __name__ == "__main__":
    main()
