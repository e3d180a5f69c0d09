"""Large studies: what the bookkeeping of a cell costs, in time and memory, when no cell trains.

Every cell is recorded as a real one would be, with its row, a log and the outcome of 100 test images,
but without training: what remains is laying out the grid, handing out jobs, recording, keeping the
table up to date, and writing the report.

    python benchmarks/scaling.py [--cells 1000,10000]
"""

from __future__ import annotations

import argparse
import io
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import selfsup
from cell import apart
from history import note
from selfsup.config.grid import Job
from selfsup.execution.jobs import job as cellrun
from selfsup.execution.jobs.context import StudyContext
from selfsup.record.results import CellResult

LRS, SIZES, METHODS = 25, 10, ("simclr", "moco", "byol", "supervised")


def record_only(study: StudyContext, job: Job, **_: Any) -> list[CellResult]:
    """In place of :func:`selfsup.execution.jobs.job.run_job`: records cells whose numbers are drawn."""
    results = []
    for cell in job.cells:
        rng = np.random.default_rng(abs(hash(cell)))
        labels = study.store.labels
        assert labels is not None
        evaluated = study.evaluated(cell.seed)[:100]
        accuracy = float(rng.uniform(0.5, 0.9))
        right = rng.random(len(evaluated)) < accuracy
        predicted = np.where(right, labels[evaluated], (labels[evaluated] + 1) % len(study.store.classes))
        outcome = io.BytesIO()
        np.savez_compressed(
            outcome,
            labels=labels[evaluated],
            predicted=predicted,
            confidence=rng.random(len(evaluated)).astype(np.float32),
            indices=evaluated,
            projection=rng.normal(size=(len(evaluated), 2)).astype(np.float32),
        )
        result = CellResult.of(
            cell, "done", epochs=1, val_accuracy=accuracy, test_accuracy=float(right.mean()), train_seconds=1.0
        )
        log = "epoch,loss,lr,embedding_std\n1,1.0,0.1,0.9\n"
        study.folder.write_cell(result, {"embeddings.npz": outcome.getvalue(), "training_log.csv": log.encode()})
        results.append(result)
    return results


def run(cells: int, folder: Path) -> tuple[float, float, float]:
    """Seconds of the study, seconds of writing its report once more, and the peak memory in MB."""
    cellrun.run_job = record_only  # type: ignore[assignment]
    seeds = cells // (LRS * SIZES * len(METHODS) * 2)
    started = time.perf_counter()
    study = selfsup.compare(
        "digits",
        out=folder / "study",
        methods=METHODS,
        lrs=[round(0.001 * 1.2**k, 6) for k in range(LRS)],
        per_class=list(range(5, 5 + SIZES)),
        seeds=seeds,
        executor="inline",
        backbone="test_resnet",
        weights="none",
        references=(),
        image_size=16,
    )
    whole = time.perf_counter() - started
    started = time.perf_counter()
    study.report()
    assert len(study.results) == seeds * LRS * SIZES * len(METHODS) * 2
    return whole, time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", type=lambda text: [int(n) for n in text.split(",")], default=[2000, 10_000])
    given = parser.parse_args()
    found = []
    for cells in given.cells:
        with tempfile.TemporaryDirectory() as folder:
            whole, report, memory = apart(run, cells, Path(folder))
        found.append((cells, whole, memory))
        print(
            f"{cells:6} cells: {whole:7.1f} s, {whole / cells * 1e3:5.1f} ms per cell; report {report:5.1f} s; "
            f"peak memory {memory:5.0f} MB",
            flush=True,
        )
    (few, few_seconds, few_memory), (many, many_seconds, many_memory) = found[0], found[-1]
    growth = (many_seconds / many) / (few_seconds / few)
    print(f"time per cell, {many} against {few} cells: {growth:.2f}; memory {many_memory / few_memory:.2f}")
    note("scaling", f"{many} against {few} cells", time_per_cell=growth, peak_memory=many_memory / few_memory)


if __name__ == "__main__":
    main()
