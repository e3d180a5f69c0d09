"""Successive halving: what runs next, from what is recorded alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from selfsup.config.grid import Cell, Job, Tags, expand, group_jobs
from selfsup.config.network_source import NetworkSource
from selfsup.config.schema import StudyConfig
from selfsup.config.validation import validate
from selfsup.execution.schedulers import load_scheduler
from selfsup.execution.schedulers.base import Record, Scheduler
from selfsup.record.folder import StudyFolder

CONFIG = validate({"scheduler": "halving", "epochs": 9})  # rungs at 1 and 3
LRS = (0.01, 0.03, 0.1, 0.3)
SCORES = {0.01: 0.5, 0.03: 0.9, 0.1: 0.7, 0.3: 0.1}


def scheduler_of(config: StudyConfig = CONFIG) -> Scheduler:
    return load_scheduler(config, StudyFolder(Path("nowhere")))


def jobs_of(*, seeds: int = 1, methods: tuple[str, ...] = ("simclr",), protocol: str = "data-regime") -> list[Job]:
    tags = {"simclr": Tags(), "moco": Tags(), "random": Tags(trains=False)}
    sizes = (5, 20) if protocol == "label-efficiency" else (5,)
    grid = {"methods": methods, "augmentations": ("weak",), "lrs": LRS, "per_class": sizes, "seeds": seeds}
    networks = [NetworkSource("resnet18", "none")]
    return group_jobs(expand(**grid, backbones=networks, tags=tags), protocol=protocol, tags=tags)  # type: ignore[arg-type]


def pruned(epochs: int, **scores: float) -> Record:
    return Record("pruned", epochs, {int(rung[1:]): score for rung, score in scores.items()})


def run(jobs: list[Job], records: dict[str, Record], scores: dict[float | None, float]) -> None:
    """What running `jobs` would record, if a setting's score at every rung is that of its learning rate."""
    for job in jobs:
        for cell in job.cells:
            old = records.get(cell.id, Record()).scores
            found = old if job.until is None else {**old, job.until: scores[cell.lr]}
            records[cell.id] = Record("done", 9, found) if job.until is None else Record("pruned", job.until, found)


def lrs(jobs: list[Job]) -> list[float | None]:
    return [job.cells[0].lr for job in jobs]


def test_all_go_to_the_first_rung_and_the_best_on() -> None:
    jobs, records, halving = jobs_of(), dict[str, Record](), scheduler_of()
    first = halving.next_round(jobs, records)
    assert first == [replace(job, until=1) for job in jobs]
    run(first, records, SCORES)
    second = halving.next_round(jobs, records)
    assert (lrs(second), {job.until for job in second}) == ([0.03, 0.1], {3})
    run(second, records, SCORES)
    third = halving.next_round(jobs, records)
    assert (lrs(third), {job.until for job in third}) == ([0.03], {None})
    run(third, records, SCORES)
    assert halving.next_round(jobs, records) == []


def test_a_round_that_was_interrupted_goes_on_with_the_rest() -> None:
    jobs, records, halving = jobs_of(), dict[str, Record](), scheduler_of()
    run(halving.next_round(jobs, records)[:2], records, SCORES)
    assert lrs(halving.next_round(jobs, records)) == [0.1, 0.3]


def test_seeds_of_a_setting_stay_together_and_count_by_their_mean() -> None:
    jobs, records, halving = jobs_of(seeds=2), dict[str, Record](), scheduler_of()
    for job in halving.next_round(jobs, records):
        cell = job.cells[0]
        lucky = cell.lr == 0.3 and cell.seed == 0
        records[cell.id] = pruned(1, r1=1.0 if lucky else SCORES[cell.lr or 0])
    chosen = halving.next_round(jobs, records)
    assert {(job.cells[0].lr, job.cells[0].seed) for job in chosen} == {(lr, s) for lr in (0.03, 0.1) for s in (0, 1)}


def test_equals_are_ordered_as_in_the_report() -> None:
    jobs, records, halving = jobs_of(), dict[str, Record](), scheduler_of()
    run(halving.next_round(jobs, records), records, dict.fromkeys(LRS, 0.5))
    assert lrs(halving.next_round(jobs, records)) == [0.01, 0.03]


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_what_came_to_nothing_is_last_and_holds_nobody_up(status: str) -> None:
    jobs, records, halving = jobs_of(), dict[str, Record](), scheduler_of()
    run(halving.next_round(jobs, records), records, SCORES)
    records[jobs[1].cells[0].id] = Record(status, 1, given_up=status == "failed")  # it would have been the best
    assert lrs(halving.next_round(jobs, records)) == [0.01, 0.1]


def test_where_all_that_went_on_collapsed_the_next_one_does() -> None:
    jobs, records, halving = jobs_of(), dict[str, Record](), scheduler_of()
    run(halving.next_round(jobs, records), records, SCORES)
    run(halving.next_round(jobs, records), records, SCORES)
    records[jobs[1].cells[0].id] = Record("collapsed", 9, {1: 0.9, 3: 0.9})
    assert halving.next_round(jobs, records) == [jobs[2]]
    records[jobs[2].cells[0].id] = Record("diverged", 5, {1: 0.7, 3: 0.7})
    assert halving.next_round(jobs, records) == [jobs[0]]
    run([jobs[0]], records, SCORES)
    assert halving.next_round(jobs, records) == []


def test_a_failure_of_an_earlier_run_is_tried_again() -> None:
    jobs, halving = jobs_of(), scheduler_of()
    records = {job.cells[0].id: pruned(1, r1=0.5) for job in jobs}
    records[jobs[3].cells[0].id] = Record("failed")
    assert halving.next_round(jobs, records) == [replace(jobs[3], until=1)]


def test_methods_compete_each_for_itself_and_what_does_not_train_not_at_all() -> None:
    jobs, records, halving = jobs_of(methods=("simclr", "moco", "random")), dict[str, Record](), scheduler_of()
    first = halving.next_round(jobs, records)
    assert [job.until for job in first] == [1] * 8 + [None]
    run(first, records, {**SCORES, None: 0})
    assert [(job.cells[0].method, job.cells[0].lr) for job in halving.next_round(jobs, records)] == [
        (method, lr) for method in ("simclr", "moco") for lr in (0.03, 0.1)
    ]


def test_cells_that_finished_without_being_compared_take_no_place() -> None:
    jobs, records, halving = jobs_of(), dict[str, Record](), scheduler_of()
    records[jobs[0].cells[0].id] = Record("done", 9)
    run(halving.next_round(jobs, records), records, SCORES)
    assert lrs(halving.next_round(jobs, records)) == [0.03]  # of three that compete


def test_a_shared_training_counts_by_the_mean_of_its_cells() -> None:
    jobs, halving = jobs_of(protocol="label-efficiency"), scheduler_of()
    records = {
        cell.id: pruned(1, r1=(1.0 if cell.per_class == 5 else 0.0) if cell.lr == 0.3 else SCORES[cell.lr or 0])
        for job in jobs
        for cell in job.cells
    }
    assert lrs(halving.next_round(jobs, records)) == [0.03, 0.1]


def test_cells_added_to_a_finished_shared_training_are_finished() -> None:
    jobs, records, halving = jobs_of(protocol="label-efficiency"), dict[str, Record](), scheduler_of()
    while wanted := halving.next_round(jobs, records):
        run(wanted, records, SCORES)
    more = Cell("simclr", "resnet18", "weak", 0.03, 50, 0)
    wider = [replace(job, cells=(*job.cells, replace(more, lr=job.cells[0].lr))) for job in jobs]
    while wanted := halving.next_round(wider, records):
        run(wanted, records, SCORES)
    assert records[more.id].status == "done"
    assert {records[cell.id].status for job in wider for cell in job.cells if cell.lr != 0.03} == {"pruned"}


def test_none_finishes_what_was_stopped() -> None:
    jobs, records = jobs_of(), dict[str, Record]()
    run(scheduler_of().next_round(jobs, records), records, SCORES)
    left = scheduler_of(validate({"scheduler": "none", "epochs": 9})).next_round(jobs, records)
    assert left == jobs
