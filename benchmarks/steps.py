"""What more steps bring where images are few: test accuracy and training time over `--min-steps`, size and data set.

Runs one study per data set and number of steps, of otherwise `recommended` settings at the recipe's own rate, and
prints every method's accuracy with the standard error over seeds, and its training seconds. A study that was stopped
is gone on with.

    python benchmarks/photographs.py patches
    python benchmarks/steps.py digits patches --out steps [--min-steps 0,1000,3000] [--seeds 2]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

import selfsup


def study(data: str, steps: int, given: argparse.Namespace) -> pd.DataFrame:
    """Results of the study of one data set with at least so many steps."""
    done = selfsup.compare(
        data,
        out=given.out / f"{Path(data).name}-{steps}",
        methods=given.methods,
        backbones=given.backbone,
        weights="none",
        references=(),
        augmentations=given.augmentation,
        lrs="1x",
        per_class=given.per_class,
        seeds=given.seeds,
        image_size=given.image_size,
        min_steps=steps,
        keep="none",
        executor="inline",
        threads=1,
    )
    return done.results.assign(data=Path(data).name, min_steps=steps)


def table(results: pd.DataFrame) -> pd.DataFrame:
    """Accuracy, its standard error over seeds, and seconds, by data set, size and method; a column per steps."""
    by = ["data", "per_class", "method", "min_steps"]
    groups = results.groupby(by, sort=False)
    cells = pd.DataFrame(
        {
            "accuracy": groups.test_accuracy.mean(),
            "error": groups.test_accuracy.sem(),
            "seconds": groups.train_seconds.mean(),
        }
    )
    return cells.unstack("min_steps").swaplevel(axis=1).sort_index(axis=1, level=0, sort_remaining=False)  # type: ignore[call-arg,return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", nargs="+", help="data sets, as `selfsup run` takes them")
    parser.add_argument("--out", type=Path, required=True, help="folder of the studies")
    parser.add_argument("--min-steps", default="0,1000,3000")
    parser.add_argument("--methods", default="simclr,byol,supervised,random")
    parser.add_argument("--per-class", default="5,20")
    parser.add_argument("--augmentation", default="simclr")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    found = []
    for steps in map(int, given.min_steps.split(",")):
        for data in given.data:
            found.append(study(data, steps, given))
            print(table(pd.concat(found)).round(3).to_string(), flush=True)


if __name__ == "__main__":
    main()
