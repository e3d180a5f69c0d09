"""Makes of a study what fits into a budget: chosen before it starts, and noted for its report."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from selfsup.config.grid import Cell, Job
from selfsup.config.schema import StudyConfig
from selfsup.data.sources.base import silent
from selfsup.errors import UserError
from selfsup.execution.budgets.budget import blocks_of, choose, least_seconds, wall_seconds
from selfsup.execution.budgets.budgeted_scheduler import Budget, BudgetedScheduler
from selfsup.execution.budgets.job_costs import JobCosts
from selfsup.execution.configuration import SHORTENED
from selfsup.execution.grid_words import describe, left_out
from selfsup.execution.schedulers import load_scheduler
from selfsup.execution.schedulers.base import left_to_do, read_records
from selfsup.execution.words import listed
from selfsup.record.folder import StudyFolder
from selfsup.record.results import FAILED, PRUNED

#: What decides between learning rates and augmentations where a command with a budget names nothing else.
HALVING = "halving"
#: What needs a number of epochs, and its value where there are fewer.
OF_MANY_EPOCHS: Mapping[str, int | None] = {"patience": 0, "min_epochs": None}


@dataclass(frozen=True)
class FittedStudy:
    """A study as a budget has it.

    Attributes
    ----------
    budget : Budget
    changes : dict
        Of the configuration, so that trainings fit: fewer epochs and steps, and what these leave no room for; mostly
        none.
    scheduler : BudgetedScheduler
    cells : tuple of Cell
        Those that fit by estimate,
    seconds : float
        in so many.
    sentences : tuple of str
        What that is, and what is left out.
    notes : mapping
        The same for the history of the study.
    """

    budget: Budget
    changes: Mapping[str, int | None]
    scheduler: BudgetedScheduler
    cells: tuple[Cell, ...]
    seconds: float
    sentences: tuple[str, ...]
    notes: Mapping[str, Any]


def with_halving(config: StudyConfig, values: Mapping[str, Any]) -> StudyConfig:
    """The configuration with successive halving, where it has a budget and `values` name no scheduler."""
    if config.budget is None or config.scheduler != "none" or "scheduler" in values:
        return config
    return config.model_copy(update={"scheduler": HALVING})


def fit_into_budget(
    budget: Budget,
    config: StudyConfig,
    folder: StudyFolder | None,
    jobs: Sequence[Job],
    costs: JobCosts,
    workers: int,
    clock: Callable[[], float] = time.monotonic,
    say: Callable[[str], object] = silent,
) -> FittedStudy:
    """Choose what of `jobs`, those of the whole grid, fits into a budget; `say` takes what later no longer does.

    Raises
    ------
    UserError
        If that is not a single one of those that are left.
    """
    begun = folder is not None and folder.exists()
    records = {} if folder is None else read_records(folder)
    place = folder or StudyFolder(Path())

    def seconds_of(job: Job) -> float:
        return sum(costs.training(left) + costs.evaluation(left) for left in left_to_do([job], records))

    def scheduler_of(config: StudyConfig) -> BudgetedScheduler:
        inner = load_scheduler(config, place)
        return BudgetedScheduler(inner, blocks, replace(costs, config=config), records, workers, budget, clock, say)

    blocks = blocks_of(jobs, config, load_scheduler(config, place), seconds_of)
    scheduler = scheduler_of(config)
    cost_of, seconds = scheduler.cost_of, scheduler.left
    choice = choose(blocks, cost_of, seconds, workers, epochs=config.epochs, fixed=begun)
    if not choice.blocks:
        least = budget.seconds - seconds + least_seconds(blocks, cost_of)
        raise UserError(
            f"--budget {budget.text} is too short for one cell of this study on this machine; the first would be "
            f"finished and reported in --budget {math.ceil(1.2 * least / 60)}m."
        )
    changes = _shortened(config, choice.epochs)
    if changes:
        scheduler = scheduler_of(config.model_copy(update=changes))
    scheduler.promised |= {block.name for block in choice.blocks}
    category = costs.items.category
    absent = left_out([cell for job in jobs for cell in job.cells], choice.cells, category=category)
    notes: dict[str, Any] = {"budget": budget.text, "left_out": absent}
    sentences = _sentences(budget.text, describe(choice.cells, category, epochs=choice.epochs), absent)
    if changes:
        void = [f"--{name.replace('_', '-')} {getattr(config, name)}" for name in changes if name in OF_MANY_EPOCHS]
        sentences.append(
            f"Two trainings of {config.epochs} epochs would not fit, so trainings of this study have {choice.epochs}, "
            f"{f'too few for {listed(void)}, ' if void else ''}now and when it is gone on with."
        )
        notes[SHORTENED] = {name: [getattr(config, name), value] for name, value in changes.items()}
    seconds = wall_seconds(choice.blocks, scheduler.cost_of, workers)
    return FittedStudy(budget, changes, scheduler, choice.cells, seconds, tuple(sentences), notes)


def _shortened(config: StudyConfig, epochs: int) -> dict[str, int | None]:
    """What changes with so many epochs: the steps in proportion, and what would be refused of such trainings."""
    if epochs == config.epochs:
        return {}
    changes: dict[str, int | None] = {"epochs": epochs, "min_steps": config.min_steps * epochs // config.epochs}
    if config.patience and epochs // config.knn_every <= config.patience:
        changes["patience"] = OF_MANY_EPOCHS["patience"]
    if config.min_epochs and config.min_epochs >= epochs:
        changes["min_epochs"] = OF_MANY_EPOCHS["min_epochs"]
    return changes


def _sentences(budget: str, what: str, absent: str) -> list[str]:
    if not absent:
        return [f"Everything that was asked for fits into {budget} on this machine: {what}."]
    return [f"In {budget} on this machine: {what}. Left out: {absent}."]


def note_outcome(folder: StudyFolder, cells: Sequence[Cell], budget: Budget, category: str) -> str:
    """Write down what the budget has left out of the cells after all, and say it in a sentence."""
    statuses = folder.statuses()
    begun = [cell for cell in cells if statuses.get(cell.id, FAILED) != FAILED]
    stopped = [cell for cell in begun if statuses[cell.id] == PRUNED]
    absent = left_out(cells, begun, stopped, category=category)
    history = folder.read_json("run.json")
    history["runs"][-1]["left_out"] = absent
    folder.write_json("run.json", history)
    if not absent:
        return ""
    return f"What {budget.text} left out: {absent}. The same command with more time, or without --budget, goes on."
