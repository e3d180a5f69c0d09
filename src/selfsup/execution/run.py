"""One run of a study, begun anew or gone on with: prepared, trained round by round, its table and weights kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from selfsup.backbones import repository_of
from selfsup.config.grid import Cell, Job, fuse_jobs
from selfsup.config.schema import StudyConfig
from selfsup.data.store import Store
from selfsup.errors import Interrupted, UserError
from selfsup.execution.budgets.budgeted_scheduler import Budget, BudgetedScheduler
from selfsup.execution.budgets.budgeting import FittedStudy, fit_into_budget, note_outcome
from selfsup.execution.budgets.job_costs import JobCosts
from selfsup.execution.configuration import ImagesSeen, resolve_configuration
from selfsup.execution.executors import executor_at_work, executor_name
from selfsup.execution.executors._stop import deferred_interrupts
from selfsup.execution.executors.base import Event, Executor, JobDone, JobStarted, JobWarned, Resources
from selfsup.execution.external_test import count_external
from selfsup.execution.grid_words import about_sizes
from selfsup.execution.history import add_run, end_run
from selfsup.execution.initial_weights import prepare_weights
from selfsup.execution.jobs.context import StudyContext
from selfsup.execution.known_images import AUDIT
from selfsup.execution.preparation import prepare_images, split_study
from selfsup.execution.progress import Tally
from selfsup.execution.resolved_study import resolve_study
from selfsup.execution.resources import resolve_resources, takes_minutes, time_precision
from selfsup.execution.schedulers import jobs_ahead, load_scheduler, share_of
from selfsup.execution.schedulers.base import Scheduler, read_records
from selfsup.execution.study_networks import forget_asked_networks
from selfsup.execution.teachers import prepare_teachers, resolve_teachers
from selfsup.execution.watchers import Watcher
from selfsup.execution.words import counted, finished_before, format_duration
from selfsup.record.folder import StudyFolder
from selfsup.record.storage import Uploads
from selfsup.training.plan import TrainingPlan

if TYPE_CHECKING:
    import pandas as pd

#: Seconds between two writings of ``results.csv`` while a study runs, and what share of the time they may take.
RESULTS_EVERY, RESULTS_SHARE = 2.0, 0.05
#: The same of the page, and the seconds that a first one is taken to need.
PAGE_EVERY, PAGE_SHARE, PAGE_SECONDS = 20.0, 0.02, 2.0


@dataclass(frozen=True)
class Reporting:
    """What a run needs of the report and its trackers, which stand after it and are handed in.

    Attributes
    ----------
    load_trackers : callable
        The trackers of these names, or a refusal.
    following : callable
        Logs finished cells to the trackers while its body runs; gives what to call after each job.
    superfluous_weights : callable
        Of a table of results, the cells whose weights ``keep = "best"`` removes.
    write_assets : callable
        Writes what the maps of all cells share.
    write_page : callable
        Writes the report anew; told whether the study is still `growing`.
    """

    load_trackers: Callable[[Sequence[str]], Mapping[str, Any]]
    following: Callable[..., AbstractContextManager[Callable[[], None]]]
    superfluous_weights: Callable[[pd.DataFrame], Iterable[str]]
    write_assets: Callable[..., None]
    write_page: Callable[[bool], object]


class _Pace:
    """Something that is done every so often, and takes at most a share of the time.

    Parameters
    ----------
    every : float
        Seconds from one time to the next, at least.
    share : float
        Of the time, in (0, 1].
    seconds : float
        What the first time is taken to need.
    """

    def __init__(self, every: float, share: float, seconds: float = 0.0) -> None:
        self._every, self._share = every, share
        self._next = time.monotonic() + seconds / share

    @property
    def due(self) -> bool:
        return time.monotonic() >= self._next

    @contextmanager
    def doing(self) -> Iterator[None]:
        started = time.monotonic()
        yield
        now = time.monotonic()
        self._next = now + max(self._every, (now - started) / self._share)


class StudyRun:
    """One run of a study; needs its lock."""

    def __init__(
        self,
        folder: StudyFolder,
        values: Mapping[str, Any],
        executor: Executor,
        watcher: Watcher,
        reporting: Reporting,
        uploads: Uploads | None = None,
        began: float | None = None,
    ) -> None:
        self.folder, self.values, self.executor = folder, values, executor
        self.watcher, self.reporting, self.uploads = watcher, reporting, uploads
        self._results, self._page = _Pace(RESULTS_EVERY, RESULTS_SHARE), _Pace(PAGE_EVERY, PAGE_SHARE, PAGE_SECONDS)
        self._has_assets = False
        self._began = time.monotonic() if began is None else began  # what a budget counts from
        self._budgeted: BudgetedScheduler | None = None
        self._planned = 0  # cells that fit into it
        self._warned: set[str] = set()  # what jobs could not do as was asked, said once

    def execute(self, command: str | None) -> None:
        """Run what is not finished yet, and write the report."""
        if "data" not in self.values and not self.folder.exists():
            self._say("No images were named, so these are scikit-learn's digits; name a folder to compare on your own.")
        config = resolve_configuration(self.folder, self.values, here=self.executor.here)
        self._sweep()  # not before it is known to be a study of this version
        trackers = self.reporting.load_trackers(config.track)
        resolve_teachers(config, self.folder)
        store = prepare_images(self.folder, config, self.watcher.say, self.watcher.decoded)
        study = resolve_study(config, self.values, ImagesSeen.decoded(store), self.folder, self.watcher.say)
        config, asked, grid = study.config, study.asked, study.grid
        given = "as the study began" if self.folder.exists() else "as configured"
        resources = self.executor.resources(config, len(grid.jobs), partial(resolve_resources, given=given))
        if self.executor.here:
            resources = time_precision(config, resources, grid.jobs, len(store))
        if config.fuse == "auto":  # 1 everywhere, until a gain was measured on a GPU
            config = config.model_copy(update={"fuse": 1})
        prepare_weights(self.folder, config, self.watcher.say)
        prepare_teachers(self.folder, config, store, resources.hardware.device, self.watcher.say)
        left = jobs_ahead(asked, self.folder, grid.jobs, read_records(self.folder))
        costs = self._time_jobs(asked, left, resources, store)
        fitted = self._fit_into_budget(asked, grid.jobs, resources, costs) if costs and asked.budget else None
        if costs is not None and fitted is None:
            seconds = costs.wall(left, share_of(asked, self.folder), resources.workers)
            cells = counted(sum(len(job.cells) for job in left), "cell")
            less = "; --budget 1h runs what fits into an hour" * (seconds > 3600)
            self._say(f"About {format_duration(seconds)} for {cells} by steps timed here{less}.")
        if fitted is not None:
            config, self._budgeted = config.model_copy(update=fitted.changes), fitted.scheduler
            self._planned = len({cell.id for cell in fitted.cells} | self.folder.finished())
            resources = replace(resources, until=fitted.budget.until)
        forget_asked_networks()
        scheduler = self._budgeted or load_scheduler(config, self.folder)
        self._store_configuration(config, resources)  # last: what failed before it binds nobody
        if self.folder.read_json("dataset.json")["warnings"]:
            self._say(f"What was noticed in the images is listed in {self.folder.path / AUDIT}.")
        notes = {**(fitted.notes if fitted else {}), "without": {name: repository_of(name) for name in study.without}}
        add_run(self.folder, self.values, command, (cell.id for cell in grid.cells), notes)
        opened = self._opened = StudyContext(self.folder, resources.hardware)
        for notice in (*grid.notices, *about_sizes(grid.cells, config, store.items, opened.split(0).train)):
            self.watcher.say(notice)
        following = self.reporting.following(self.folder, trackers, self.watcher.say, weights=config.track_weights)
        with self._stopping(fitted.cells if fitted else grid.cells), following as self._notify_trackers:
            if not self._run_rounds(scheduler, grid.jobs, config, resources):
                self._update_results()
                done = len(self.folder.finished() & {cell.id for cell in grid.cells})
                before = finished_before(counted(done, "cell"), 0 if fitted else len(grid.cells) - done)
                self._say(f"Nothing to do: {before}; the report is written anew.")
            if fitted is not None:
                self._say(note_outcome(self.folder, grid.cells, fitted.budget, store.items.category))
            self._write_assets()
            self.reporting.write_page(False)
        end_run(self.folder)

    @contextmanager
    def _stopping(self, cells: Sequence[Cell]) -> Iterator[None]:
        """Says, where it is stopped within after the last of the cells, that the report alone is missing."""
        try:
            yield
        except (Interrupted, KeyboardInterrupt) as stop:
            if not {cell.id for cell in cells} <= self.folder.finished():
                raise
            left = f"{counted(len(cells), 'cell')} finished, and only the report is missing"
            writes = "the same command writes it, and so does `selfsup report`"
            raise Interrupted(getattr(stop, "signal", 2), f"; {left}: {writes}") from None

    def _time_jobs(
        self, asked: StudyConfig, left: Sequence[Job], resources: Resources, store: Store
    ) -> JobCosts | None:
        """What the jobs that are left cost, where a budget goes by it, or they take minutes on this machine's CPU."""
        here = self.executor.here and takes_minutes(asked, resources, left, len(store))
        if not left or (asked.budget is None and not here):
            return None
        split, _ = split_study(asked, store.items)
        side = round(float(np.median(np.sqrt(store.sizes.prod(axis=1)))))
        external = count_external(self.folder)
        return JobCosts.measure(asked, left, store.items, split, resources, side, external=external)

    def _fit_into_budget(
        self, asked: StudyConfig, jobs: Sequence[Job], resources: Resources, costs: JobCosts
    ) -> FittedStudy:
        """What of the jobs is to run within the budget."""
        assert asked.budget is not None
        budget = Budget(asked.budget, self._began, time.monotonic())
        fitted = fit_into_budget(budget, asked, self.folder, jobs, costs, resources.workers, say=self.watcher.say)
        for sentence in fitted.sentences:
            self.watcher.say(sentence)
        return fitted

    def _write_assets(self) -> None:
        """What the maps of all cells share, once per run."""
        if not self._has_assets:
            opened = self._opened
            shown = opened.config.show_channels
            for suffix, seed in {opened.split_suffix(seed): seed for seed in range(opened.config.seeds)}.items():
                self.reporting.write_assets(self.folder.path, opened.store, opened.mapped(seed), shown, suffix)
            self._has_assets = True

    def _run_rounds(
        self,
        scheduler: Scheduler,
        jobs: Sequence[Job],
        config: StudyConfig,
        resources: Resources,
    ) -> bool:
        """Run what the scheduler wants, round by round; False if there was nothing to do."""
        given_up: set[str] = set()
        rounds = 0
        over = False
        while not over and (wanted := scheduler.next_round(jobs, read_records(self.folder, given_up))):
            wanted = fuse_jobs(wanted, jobs, int(config.fuse))
            workers = min(resources.workers, len(wanted))
            if not rounds:
                self._say(resources.hardware.reason, _describe_workers(resources, config.workers, len(wanted)))
            cells = {cell.id for job in jobs for cell in job.cells}
            done = len(self.folder.finished() & cells)
            stopped = len(cells) - sum(len(job.cells) for job in wanted) - done
            passes = TrainingPlan.of(config, 0, epochs=config.epochs, lr=0.0, min_steps=config.min_steps).passes
            counts = self._opened.train_counts
            tally = Tally(
                wanted,
                counts,
                epochs=config.epochs,
                workers=workers,
                done=done,
                stopped=0 if self._budgeted else stopped,  # those that a budget leaves out were never begun
                pool=len(self._opened.split(0).train) - sum(counts),
                passes=passes,
                ends=resources.until,
                planned=self._planned,
            )
            self.watcher.begin(self.folder.path, tally)
            try:
                self.executor.run(self.folder, wanted, resources, self._on_event)
            except Interrupted as stop:
                if stop.signal:
                    raise
                over = True  # the budget is
            finally:
                with deferred_interrupts():
                    self._update_results()
                self.watcher.end()
            ids = {cell.id for job in wanted for cell in job.cells}
            given_up |= {cell for cell, status in self.folder.statuses().items() if status == "failed" and cell in ids}
            rounds += 1
        if self._budgeted is None or not self._budgeted.left_over:
            for job in jobs:  # what it kept of trainings that will not go on; those that failed do in the next run
                if given_up.isdisjoint(cell.id for cell in job.cells):
                    self.folder.clear_job(job.id)
        return rounds > 0

    def _sweep(self) -> None:
        """Clear away what dead processes left, unless jobs of an earlier run are still at work on a cluster."""
        at_work = executor_at_work(self.folder)
        if at_work is None:
            self.folder.sweep()
        elif at_work != executor_name(self.executor):
            raise UserError(
                f"Jobs of '{self.folder.path}' are at work under --executor {at_work}; run with it to go on with them."
            )

    def _say(self, *sentences: str) -> None:
        """Show the sentences in one line, if there are any."""
        line = " ".join(filter(None, sentences))
        if line:
            self.watcher.say(line)

    def _store_configuration(self, config: StudyConfig, resources: Resources) -> None:
        """Write the configuration down with everything that ``auto`` stood for."""
        resolved = config.model_copy(
            update={
                "device": resources.hardware.kind if ":" not in config.device else config.device,
                "precision": resources.hardware.precision,
                "threads": resources.threads,
                "store_size": config.resolved_store_size,
            }
        )
        self.folder.write_config(resolved)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, JobWarned):
            if event.message not in self._warned:
                self._warned.add(event.message)
                self._say(event.message)
            return
        if self._budgeted is not None:
            self._budgeted.take(event)
        if isinstance(event, JobDone):
            self._notify_trackers()
            if self._results.due:
                self._update_results()
        if self.uploads is not None:
            self.uploads.notice(self.watcher.say)
        self.watcher.on_event(event)
        if not isinstance(event, JobStarted):
            self._write_assets()  # while the first jobs train
        if isinstance(event, JobDone) and self._page.due:
            with self._page.doing():
                self._update_results()
                self.reporting.write_page(True)

    def _update_results(self) -> None:
        """Bring the table up to date, and drop the weights that cannot be asked for any more."""
        with self._results.doing():
            table = self.folder.write_results()
            keep = self.folder.read_config().keep
            if keep != "all":
                for cell_id in self.reporting.superfluous_weights(table) if keep == "best" else table["cell"]:
                    self.folder.drop_weights(cell_id)


def _describe_workers(resources: Resources, wanted: int | str, jobs: int) -> str:
    """How many workers there are, and whether there is nothing to do for all that were asked for."""
    workers = min(resources.workers, jobs)
    line = f"{counted(workers, 'worker')} with {counted(resources.threads, 'thread')}{' each' * (workers > 1)}"
    if wanted != "auto" and int(wanted) > workers == jobs:
        line += f"; more than that (--workers {wanted}) would have nothing to do"
    return f"{line}."
