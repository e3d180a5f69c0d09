"""A study from the outside: run it, read it, use its backbones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfsup import registry
from selfsup._version import __version__
from selfsup.config import schema as configuration
from selfsup.config.grid import Cell, fuse_jobs
from selfsup.config.schema import StudyConfig
from selfsup.errors import UserError
from selfsup.record.folder import StudyFolder
from selfsup.record.results import CellResult
from selfsup.record.storage import Mirror, Uploads, is_address, kept_in_step, local_folder, shown, upload

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from selfsup.config.grid import Job
    from selfsup.execution.executors.base import Event, Executor, Resources
    from selfsup.execution.schedulers import Scheduler
    from selfsup.execution.watchers import Watcher

#: Seconds between two writings of ``results.csv`` while a study runs, and what share of the time they may take.
RESULTS_EVERY, RESULTS_SHARE = 2.0, 0.05


class Study:
    """A study on disk, finished or not.

    Parameters
    ----------
    path : str or Path
        The study's folder, or its address, such as ``s3://bucket/study``; what is new there is fetched.

    Raises
    ------
    UserError
        If there is no study, or its address cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.address = str(path) if is_address(path) else None
        self.folder = StudyFolder(local_folder(path))
        if not self.folder.exists():
            where = shown(self.address) if self.address else path
            raise UserError(
                f"'{where}' is not a study: it has no config.toml; give the folder that `selfsup run` made."
            )

    def __repr__(self) -> str:
        return f"Study({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The study's folder; of one at an address, the working folder of this machine."""
        return self.folder.path

    @property
    def config(self) -> StudyConfig:
        """Its configuration, everything resolved."""
        return self.folder.read_config()

    @property
    def results(self) -> pd.DataFrame:
        """One row per recorded cell, with the columns of ``results.csv``."""
        return self.folder.results()

    def best(self, per_class: int | str | None = None) -> CellResult:
        """The cell to use: the self-supervised method with the highest validation accuracy.

        Its learning rate and augmentation are those with the highest mean over the seeds; of its
        seeds, the first whose weights were kept. Without labels, the choice is by effective rank.
        Where no self-supervised method has finished, it is among the others.

        Parameters
        ----------
        per_class : int or "all", optional
            Number of images per class; the largest of the study by default.

        Raises
        ------
        UserError
            If no cell of that size is finished.
        """
        from selfsup.report.verdict import answer, best_choice

        choices = answer(self.path).choices
        if per_class is not None:
            choices = tuple(choice for choice in choices if choice.per_class == str(per_class))
        best = best_choice(choices)
        if best is None:
            size = "" if per_class is None else f" with {per_class} images per class"
            raise UserError(f"'{self.path}' has no finished cell{size}; run the study first.")
        kept = [cell for cell in best.cells if self.folder.weights(cell).is_file()]
        return self.result((kept or list(best.cells))[0])

    def result(self, cell: str | Cell | CellResult) -> CellResult:
        """The result of one cell.

        Raises
        ------
        UserError
            If the study has no such cell.
        """
        wanted = _id(cell)
        metrics = self.folder.metrics(wanted) if "/" not in wanted else {}
        if not metrics:
            raise UserError(f"'{self.path}' has no finished cell '{wanted}'; results.csv lists those it has.")
        return CellResult.read(metrics)

    def load_backbone(self, cell: str | Cell | CellResult | None = None) -> nn.Module:
        """The trained backbone of a cell, in evaluation mode.

        Parameters
        ----------
        cell : cell, result or id, optional
            The best one by default.

        Returns
        -------
        selfsup.backbones.Backbone
            From float32 images in [0, 1], shape (n, 3, side, side), to embeddings (n, num_features).

        Raises
        ------
        UserError
            If the cell's weights were not kept.
        """
        from selfsup.backbones import build_backbone, load_weights

        result = self.best() if cell is None else self.result(cell)
        weights = self.folder.weights(result.cell)
        if not weights.is_file():
            raise UserError(
                f"The weights of '{result.cell}' were not kept ({result.status}, keep = {self.config.keep}); "
                f"`best()` names a cell that has them, and a study begun with `--keep all` has those of every cell."
            )
        config = self.config
        backbone = build_backbone(config.backbone, image_size=config.side, stem=config.stem)
        load_weights(backbone, weights)
        return backbone.eval()

    def report(self, form: str = "html") -> Path:
        """Write the report anew from the recorded cells.

        Parameters
        ----------
        form : {"html", "md", "pdf"}
            ``report.html``, one interactive page; ``report.md`` with its figures beside it; or
            ``report.pdf``.

        Returns
        -------
        Path
            The file, in the study's folder.
        """
        from selfsup.report import write_markdown, write_pdf, write_report

        registry.require([form], ["html", "md", "pdf"], kind="format")
        if form == "html":
            history = self.folder.read_json("run.json")
            commands = dict.fromkeys(run["command"] for run in history.get("runs", []) if run["command"])
            written = write_report(self.path, "\n".join(commands) or None, planned=history.get("planned"))
        else:
            written = {"md": write_markdown, "pdf": write_pdf}[form](self.path)
        if self.address:
            upload(self.address, [written])
        return written


def load_study(path: str | Path) -> Study:
    """The study in the folder `path`.

    Raises
    ------
    UserError
        If there is none.
    """
    return Study(path)


def compare(
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    preset: str | None = None,
    config: str | Path | None = None,
    executor: str | None = None,
    watcher: Watcher | None = None,
    command: str | None = None,
    **options: Any,
) -> Study:
    """Compare self-supervised methods on a folder of images.

    Runs every cell of the grid that is not finished yet, so the same call goes on with a study that
    was stopped, and a call with a larger grid runs only what is new.

    Parameters
    ----------
    data : str or Path, optional
        A folder of images, or the name of a data set; scikit-learn's digits by default.
    out : str or Path, optional
        The study's folder, or an address that fsspec opens, such as ``s3://bucket/study``;
        ``studies/<name of the data>`` by default.
    preset : {"quick", "recommended", "full"}, optional
        Where the configuration starts from; "recommended" if neither preset nor config is given.
    config : str or Path, optional
        A TOML file with options; they win over the preset's. What it leaves out is as in "recommended".
    executor : {"local", "inline", "ray", "slurm"}, optional
        Where cells run; worker processes of this machine by default.
    watcher : Watcher, optional
        Shown what happens; silent by default.
    command : str, optional
        The command line, for the history in ``run.json`` and the report.
    **options
        Any field of :class:`selfsup.config.schema.StudyConfig`, for example ``methods="simclr,byol"`` or
        ``lrs=[0.01, 0.1]``, and any option of the executor; they win over `preset` and `config`.

    Returns
    -------
    Study

    Raises
    ------
    UserError
        If something that was given does not fit; says what and how to mend it.
    Interrupted
        On Ctrl-C or SIGTERM; everything finished is on disk.

    Examples
    --------
    >>> import selfsup
    >>> study = selfsup.compare("digits", preset="quick", out="my-study")  # doctest: +SKIP
    >>> study.best().method, study.report()  # doctest: +SKIP
    """
    from selfsup.execution.watchers import Silent

    values, where = requested_run(data, preset=preset, config=config, options={**options, "executor": executor})
    watcher = watcher or Silent()
    place = default_out(values) if out is None else out
    mirror = Mirror(str(place)) if is_address(place) else None
    folder = StudyFolder(mirror.folder if mirror else Path(place))
    run = _Run(folder, values, where, watcher)
    folder.create()
    with folder.lock():
        try:
            in_step = kept_in_step(mirror, watcher.say) if mirror else nullcontext()
            with where.standing_by(), in_step as run.uploads:
                run.go(command.replace(str(place), shown(str(place))) if command else None)
        finally:
            folder.remove_if_unbegun()
    return Study(place)


def requested_values(
    data: str | Path | None, *, preset: str | None, config: str | Path | None, options: dict[str, Any]
) -> dict[str, Any]:
    """Raw values of the configuration that was asked for."""
    return requested_run(data, preset=preset, config=config, options=options)[0]


def requested_run(
    data: str | Path | None, *, preset: str | None, config: str | Path | None, options: dict[str, Any]
) -> tuple[dict[str, Any], Executor]:
    """Raw values of the configuration that was asked for, and the executor."""
    from selfsup.execution.executors import take_executor

    if preset is None and config is None:
        preset = "recommended"
    overrides = {name: value for name, value in options.items() if value is not None}
    if data is not None:
        overrides["data"] = str(data)
    values = configuration.load_values(preset=preset, file=config, overrides=overrides)
    executor = take_executor(values)
    in_file = configuration.read_toml(Path(config)) if config is not None else {}
    configuration.validate(values, files={name: str(config) for name in in_file if name not in overrides})
    return configuration.with_full_paths(values), executor


def default_out(values: dict[str, Any]) -> Path:
    """``studies/<name of the data>``, in the current folder."""
    name = Path(str(values.get("data", "digits"))).resolve().name or "images"
    return Path("studies") / name


class _Run:
    """One run of a study, begun anew or gone on with."""

    def __init__(self, folder: StudyFolder, values: dict[str, Any], executor: Executor, watcher: Watcher) -> None:
        self.folder, self.values, self.executor, self.watcher = folder, values, executor, watcher
        self.uploads: Uploads | None = None
        self._next_writing = 0.0
        self._has_assets = False

    def go(self, command: str | None) -> None:
        from selfsup.execution import preparation
        from selfsup.execution.context import StudyContext
        from selfsup.execution.schedulers import load_scheduler
        from selfsup.execution.watchers import counted, describe_set_aside
        from selfsup.report.trackers import following, load_trackers

        self._sweep()
        if "data" not in self.values and not self.folder.exists():
            self._say("No images were named, so these are scikit-learn's digits; name a folder to compare on your own.")
        config = preparation.resolve_configuration(self.folder, self.values, here=self.executor.here)
        trackers = load_trackers(config.track)
        store = preparation.prepare_images(self.folder, config, self.watcher.say, self.watcher.decoded)
        self._say(describe_set_aside(store.audit, self.folder.path / preparation.AUDIT))
        config = preparation.resolve_image_size(config, store, self.watcher.say)
        asked = configuration.narrow(config, self.values)
        grid = preparation.lay_out(asked, labelled=store.labels is not None)
        scheduler = load_scheduler(config, self.folder)
        resources = self.executor.resources(config, len(grid.jobs), preparation.resolve_resources)
        config = config.model_copy(update={"fuse": preparation.resolve_fuse(config, resources.hardware)})
        preparation.prepare_weights(self.folder, config, self.watcher.say)
        self._store_configuration(config, resources)  # last: what failed before it binds nobody
        self._add_to_history(command, grid.cells)
        for notice in grid.notices:
            self.watcher.say(notice)
        opened = self._opened = StudyContext(self.folder, resources.hardware)
        train_counts = opened.train_counts
        if store.labels is not None:
            self._say(_describe_scarcity(asked.per_class, max(train_counts)))
        with following(self.folder, trackers, self.watcher.say, weights=config.track_weights) as self._notify_trackers:
            if not self._run_rounds(scheduler, grid.jobs, config, resources, train_counts):
                self._update_results()
                cells = counted(len(grid.cells), "cell")
                self._say(f"Nothing to do: {cells} finished before; the report is written anew.")
            self._write_assets()
            Study(self.folder.path).report()

    def _write_assets(self) -> None:
        """What the maps of all cells share, once per run; its imports take seconds."""
        from selfsup.report import write_assets

        if not self._has_assets:
            write_assets(self.folder.path, self._opened.store, self._opened.mapped)
            self._has_assets = True

    def _run_rounds(
        self,
        scheduler: Scheduler,
        jobs: Sequence[Job],
        config: StudyConfig,
        resources: Resources,
        train_counts: Sequence[int],
    ) -> bool:
        """Run what the scheduler wants, round by round; False if there was nothing to do."""
        from selfsup.execution.schedulers import read_records
        from selfsup.execution.watchers import Tally

        given_up: set[str] = set()
        rounds = 0
        while wanted := scheduler.next_round(jobs, read_records(self.folder, given_up)):
            wanted = fuse_jobs(wanted, jobs, int(config.fuse))
            workers = min(resources.workers, len(wanted))
            if not rounds:
                self._say(resources.hardware.reason, _describe_workers(workers, resources.threads, config.workers))
            done = sum(len(job.cells) for job in jobs) - sum(len(job.cells) for job in wanted)
            tally = Tally(wanted, train_counts, epochs=config.epochs, workers=workers, done=done)
            self.watcher.begin(self.folder.path, tally)
            try:
                self.executor.run(self.folder, wanted, resources, self._on_event)
            finally:
                self._update_results()
                self.watcher.end()
            ids = {cell.id for job in wanted for cell in job.cells}
            given_up |= {cell for cell, status in self.folder.statuses().items() if status == "failed" and cell in ids}
            rounds += 1
        for job in jobs:  # what it kept of trainings that will not go on
            self.folder.clear_job(job.id)
        return rounds > 0

    def _sweep(self) -> None:
        """Clear away what dead processes left, unless jobs of an earlier run are still at work on a cluster."""
        from selfsup.execution.executors import executor_at_work, executor_name

        at_work = executor_at_work(self.folder)
        if at_work is None:
            self.folder.sweep()
        elif at_work != executor_name(self.executor):
            raise UserError(
                f"Jobs of '{self.folder.path}' are at work under --executor {at_work}; run with it to go on with them."
            )

    def _say(self, *sentences: str) -> None:
        """Tell the watcher, in one line, what there is to tell."""
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

    def _add_to_history(self, command: str | None, cells: Sequence[Cell]) -> None:
        """Note this run beside the earlier ones, and how many cells the study has with it."""
        history = self.folder.read_json("run.json")
        run = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command,
            "version": __version__,
            "cells": len(cells),
        }
        planned = len({cell.id for cell in cells} | set(self.folder.statuses()))
        self.folder.write_json("run.json", {"planned": planned, "runs": [*history.get("runs", []), run]})

    def _on_event(self, event: Event) -> None:
        from selfsup.execution.executors.base import JobDone, JobStarted

        if isinstance(event, JobDone):
            self._notify_trackers()
            if time.monotonic() >= self._next_writing:
                self._update_results()
        if self.uploads is not None:
            self.uploads.notice(self.watcher.say)
        self.watcher.on_event(event)
        if not isinstance(event, JobStarted):
            self._write_assets()  # while the first jobs train

    def _update_results(self) -> None:
        """Bring the table up to date, and drop the weights that cannot be asked for any more."""
        started = time.monotonic()
        table = self.folder.write_results()
        keep = self.folder.read_config().keep
        if keep != "all":
            for cell_id in superfluous_weights(table) if keep == "best" else table["cell"]:
                self.folder.drop_weights(cell_id)
        now = time.monotonic()
        self._next_writing = now + max(RESULTS_EVERY, (now - started) / RESULTS_SHARE)


def _describe_scarcity(per_class: Sequence[int | str], most: int) -> str:
    """Which sizes no class has the images for; empty if none."""
    beyond = [str(size) for size in per_class if size != "all" and int(size) > most]
    if not beyond:
        return ""
    return f"No class has more than {most} images to train on, so --per-class {','.join(beyond)} means all of them."


def _describe_workers(workers: int, threads: int, wanted: int | str) -> str:
    """How many workers there are, and why fewer than were asked for."""
    from selfsup.execution.watchers import counted

    line = f"{counted(workers, 'worker')} with {counted(threads, 'thread')}{' each' * (workers > 1)}"
    if wanted != "auto" and int(wanted) > workers:
        line += f"; more than that (--workers {wanted}) would have nothing to do"
    return f"{line}."


def superfluous_weights(results: pd.DataFrame) -> list[str]:
    """Cells whose weights ``keep = "best"`` removes: where settings were chosen, those of other settings.

    While a study runs, a later cell may change the choice. The cells of the final one that had
    finished before it was chosen are then without weights, but for the last of them at least.
    """
    from selfsup.report import choose

    chosen = choose(results)
    kept = {cell for cells in chosen["cells"] for cell in cells}
    decided = set(zip(chosen["method"], chosen["per_class"], strict=True))
    rows = zip(results["cell"], results["method"], results["per_class"].astype(str), strict=True)
    return [cell for cell, method, per_class in rows if (method, per_class) in decided and cell not in kept]


def _id(cell: str | Cell | CellResult) -> str:
    if isinstance(cell, Cell):
        return cell.id
    return cell.cell if isinstance(cell, CellResult) else str(cell)
