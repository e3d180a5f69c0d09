"""What schedulers save, and what they lose: decisions replayed on studies that were trained to the end.

Every training of a real grid runs to its last epoch and is scored at every rung on the way. On these
scores each scheduler decides as it would have in a study: how many epochs it takes, whether it picks
the setting that the whole study picks, and how much test accuracy is lost where it does not. A
contest is one method at one number of images per class in one replicate, which has a split of its own.

    python benchmarks/schedulers.py [--replicates 3] [--methods simclr,moco,byol] [--epochs 27]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from joblib import cpu_count

from history import note
from selfsup.config.grid import Cell, Job
from selfsup.config.schema import StudyConfig
from selfsup.config.validation import validate
from selfsup.execution.schedulers import load_scheduler
from selfsup.execution.schedulers.base import Record, Scheduler, read_scores, rungs_of
from selfsup.record.folder import StudyFolder

NAMES = ("halving", "asha")
#: Test accuracy of a contest in which nothing finished well, for ten classes.
CHANCE = 0.1


@dataclass(frozen=True)
class Trained:
    """A training that went to its end: its cell, scores by rung, and what came of it."""

    cell: Cell
    status: str
    scores: dict[int, float]
    val_accuracy: float
    test_accuracy: float


def train_all(values: dict[str, Any], out: Path) -> list[Trained]:
    """Run a study in this process, with every training scored at the rungs and none stopped."""
    import selfsup
    from selfsup.execution.jobs import job as cellrun
    from selfsup.execution.schedulers.none import NoScheduler

    class ScoresAll(NoScheduler):
        def __init__(self, config: StudyConfig, folder: StudyFolder) -> None:
            self.rungs = rungs_of(config)

        def compares_at(self, job: Job, epoch: int) -> bool:
            return epoch in self.rungs

    cellrun.load_scheduler = ScoresAll
    study = selfsup.compare(out=out, executor="inline", keep="none", **values)
    found = []
    for row in study.folder.recorded().values():
        size = row["per_class"] if row["per_class"] == "all" else int(row["per_class"])
        cell = Cell(row["method"], row["backbone"], row["augmentation"], row["lr"], size, row["seed"])
        accuracies = (row[name] if row["status"] == "done" else -np.inf for name in ("val_accuracy", "test_accuracy"))
        found.append(Trained(cell, row["status"], read_scores(row), *accuracies))
    return found


def replay(
    name: str, config: StudyConfig, trained: Sequence[Trained], folder: StudyFolder
) -> tuple[int, list[Trained]]:
    """Epochs that a scheduler would have run, and the trainings that it would have let finish."""
    scheduler = load_scheduler(config.model_copy(update={"scheduler": name}), folder)
    by_id = {one.cell.id: one for one in trained}
    jobs = [Job((one.cell,)) for one in trained]
    records: dict[str, Record] = {}
    while wanted := scheduler.next_round(jobs, records):
        for job in wanted:
            records[job.cells[0].id] = _run(scheduler, job, by_id[job.cells[0].id], config)
    finished = [one for one in trained if records[one.cell.id].status == one.status == "done"]
    return sum(record.epochs for record in records.values()), finished


def _run(scheduler: Scheduler, job: Job, one: Trained, config: StudyConfig) -> Record:
    """What one training would have come to."""
    known: dict[int, float] = {}
    for rung, score in one.scores.items():
        known[rung] = score
        if scheduler.compares_at(job, rung) and not scheduler.goes_on(job, rung, score):
            return Record("pruned", rung, known)
    return Record(one.status, config.epochs, known)


def contests(trained: Sequence[Trained]) -> Iterator[list[Trained]]:
    """Trainings that compete with each other."""
    groups: dict[tuple[str, Any], list[Trained]] = {}
    for one in trained:
        groups.setdefault((one.cell.method, one.cell.per_class), []).append(one)
    yield from groups.values()


def pick(trained: Sequence[Trained]) -> Trained:
    """The report's choice: highest validation accuracy; of equals the smaller learning rate."""
    return max(trained, key=lambda one: (one.val_accuracy, -(one.cell.lr or 0), one.cell.augmentation != "simclr"))


def compare(name: str, config: StudyConfig, studies: Sequence[Sequence[Trained]], scratch: Path) -> Mapping[str, float]:
    """Means over all contests of all replicates."""
    epochs = full = same = 0
    losses = []
    for number, trained in enumerate(studies):
        folder = StudyFolder(scratch / f"{name}-{number}")
        folder.create()
        for group in contests(trained):
            spent, finished = replay(name, config, group, folder)
            epochs, full = epochs + spent, full + len(group) * config.epochs
            best, picked = pick(group), pick(finished) if finished else None
            same += picked is best
            losses.append(best.test_accuracy - (picked.test_accuracy if picked else CHANCE))
    error = np.std(losses, ddof=1) / np.sqrt(len(losses)) if len(losses) > 1 else np.nan
    return {
        "share_of_epochs": epochs / full,
        "same_winner": same / len(losses),
        "test_accuracy_lost": float(np.mean(losses)),
        "error": float(error),
        "most_lost": float(np.max(losses)),
        "contests": len(losses),
    }


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="digits", help="as for `selfsup run` (default digits)")
    parser.add_argument("--methods", default="simclr,moco,byol")
    parser.add_argument("--lrs", default="0.001,0.003,0.01,0.03,0.06,0.1,0.3,1")
    parser.add_argument("--per-class", default="5,20")
    parser.add_argument("--epochs", type=int, default=27)
    parser.add_argument("--reduction-factor", type=int, default=3)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--replicates", type=int, default=3)
    parser.add_argument("--out", type=Path, help="where to keep the studies, to go on with them (default: nowhere)")
    return parser.parse_args()


def main() -> None:
    given = options()
    names = ("data", "methods", "lrs", "per_class", "epochs", "reduction_factor", "image_size", "batch_size")
    values = {**{name: getattr(given, name) for name in names}, "augmentations": "weak,simclr", "threads": 1}
    values |= {"weights": "none", "references": ()}
    config = validate(values)
    with tempfile.TemporaryDirectory() as scratch:
        root = given.out or Path(scratch)
        replicates = range(given.replicates)
        with ProcessPoolExecutor(cpu_count(), mp_context=get_context("spawn")) as pool:
            running = [pool.submit(train_all, {**values, "split_seed": n}, root / f"study{n}") for n in replicates]
            studies = [future.result() for future in running]
        print(f"{given.data}, {len(studies[0])} trainings of {given.epochs} epochs, {given.replicates} replicates")
        for name in NAMES:
            found = compare(name, config, studies, Path(scratch))
            print(
                f"  {name:<8} {found['share_of_epochs']:.2f} of the epochs; the same setting in "
                f"{found['same_winner']:.0%} of {found['contests']} contests; test accuracy "
                f"{-found['test_accuracy_lost']:+.3f} ± {found['error']:.3f}, at worst {-found['most_lost']:+.3f}"
            )
            kept = {key: found[key] for key in ("share_of_epochs", "same_winner", "test_accuracy_lost")}
            note("schedulers", f"{name}, {given.data}, factor {given.reduction_factor}", **kept)


if __name__ == "__main__":
    main()
