"""A study from the outside: run it, read it, use its backbones."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfsup import registry
from selfsup.config.grid import Cell
from selfsup.config.schema import StudyConfig
from selfsup.errors import UserError
from selfsup.execution.garbage import uncollected
from selfsup.record.folder import StudyFolder
from selfsup.record.results import CellResult
from selfsup.record.storage import Mirror, is_address, kept_in_step, local_folder, shown, upload

if TYPE_CHECKING:
    import pandas as pd

    from selfsup.backbones import Backbone
    from selfsup.execution.run import Reporting
    from selfsup.execution.watchers import Watcher


class Study:
    """A study on disk, finished or not.

    Parameters
    ----------
    path : str or Path
        The study's folder, or its address, such as ``s3://bucket/study``; what is new there is fetched.

    Raises
    ------
    UserError
        If there is no study, its address cannot be read, or another version of selfsup wrote it.
    """

    def __init__(self, path: str | Path) -> None:
        self.address = str(path) if is_address(path) else None
        self.folder = StudyFolder(local_folder(path))
        if not self.folder.exists():
            where = shown(self.address) if self.address else path
            raise UserError(
                f"'{where}' is not a study: it has no config.toml; give the folder that `selfsup run` made."
            )
        self.folder.read_config()  # plugs in what it keeps, without which it could not be read

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
        from selfsup.report.recorded import read_study
        from selfsup.report.verdict import answer_study, best_choice

        study = read_study(self.path)
        choices = answer_study(study).choices
        if per_class is not None:
            choices = tuple(choice for choice in choices if choice.per_class == str(per_class))
        best = best_choice(choices)
        if best is None:
            size = "" if per_class is None else f" with {per_class} images per class"
            raise UserError(f"'{self.path}' has no finished cell{size}; run the study first.")
        return self.result(study.cell_to_use(best.cells))

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

    def load_backbone(self, cell: str | Cell | CellResult | None = None) -> Backbone:
        """The trained backbone of a cell, in evaluation mode.

        Parameters
        ----------
        cell : cell, result or id, optional
            The best one by default.

        Returns
        -------
        selfsup.backbones.Backbone
            From float32 images in [0, 1], shape (n, channels, side, side), to embeddings (n, num_features).

        Raises
        ------
        UserError
            If the cell's weights were not kept.
        """
        from selfsup.backbones import load_weights
        from selfsup.execution.study_networks import network_of

        result = self.best() if cell is None else self.result(cell)
        weights = self.folder.weights(result.cell)
        if not weights.is_file():
            raise UserError(
                f"The weights of '{result.cell}' were not kept ({result.status}, keep = {self.config.keep}); "
                f"a study begun with `--keep all` has those of every cell, and `best()` names one that has them if any."
            )
        backbone = network_of(self.config, result.method, result.backbone, self.folder)
        load_weights(backbone, weights)
        return backbone.eval()

    def report(
        self,
        form: str = "html",
        *,
        to: str | Path | None = None,
        growing: bool = False,
        metric: str | None = None,
        margin: float | str | None = None,
    ) -> Path:
        """Write the report anew from the recorded cells.

        Parameters
        ----------
        form : {"html", "md", "pdf"}
            ``report.html``, one interactive page; ``report.md`` with its figures beside it; or
            ``report.pdf``.
        to : str or Path, optional
            Another file to write, which need not lie in the study's folder.
        growing : bool
            Whether the study is running: ``report.html`` then reloads itself until it is written for the last time.
        metric, margin : optional
            In the place of the study's own, for this report alone.

        Returns
        -------
        Path
            The file; in the study's folder, unless `to` is another.

        Raises
        ------
        UserError
            If a value does not fit.
        """
        from selfsup.execution.history import runs_of
        from selfsup.report.export import figures_beside, write_markdown, write_pdf
        from selfsup.report.page import write_report

        registry.require([form], ["html", "md", "pdf"], kind="format")
        from selfsup.report.recorded import asked_for

        asked, other = asked_for(metric=metric, margin=margin), None if to is None else Path(to)
        if form == "html":
            commands = dict.fromkeys(run["command"] for run in runs_of(self.folder) if run["command"])
            written = write_report(self.path, "\n".join(commands) or None, to=other, growing=growing, asked=asked)
        else:
            written = {"md": write_markdown, "pdf": write_pdf}[form](self.path, asked, to=other)
        if self.address and to is None:
            upload(self.address, [written, *figures_beside(written).glob("*")])
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
        ``studies/<name of the data>`` by default, with ``-<name of the manifest>`` where there is one.
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
    began = time.monotonic()
    from selfsup.execution.executors._stop import deferred_interrupts
    from selfsup.execution.history import already_finished, repeat_run
    from selfsup.execution.request import default_out, requested_run
    from selfsup.execution.watchers import Watcher
    from selfsup.execution.words import counted

    options = {**options, "executor": executor}
    values, where = requested_run(data, preset=preset, config=config, options=options, out=out)
    watcher = watcher or Watcher()
    place = default_out(values) if out is None else out
    mirror = Mirror(str(place)) if is_address(place) else None
    folder = StudyFolder(mirror.folder if mirror else Path(place))
    folder.create()
    with folder.lock():
        if mirror is None and (finished := already_finished(folder, values)):
            repeat_run(folder, command)
            watcher.say(f"Nothing to do: {counted(finished, 'cell')} finished before.")
            return Study(place)
        try:
            in_step = kept_in_step(mirror, watcher.say) if mirror else nullcontext()
            with where.standing_by(), in_step as uploads:
                # Imports that take seconds, in which workers start.
                with uncollected(), deferred_interrupts(at_once=True):
                    import numpy  # noqa: F401  # before torch, which loses a Ctrl-C in it
                    import timm  # noqa: F401

                    from selfsup.execution.run import StudyRun

                run = StudyRun(folder, values, where, watcher, _reporting(folder.path), uploads, began)
                run.execute(command)
        finally:
            folder.remove_if_unbegun()
    return Study(place)


def _reporting(path: Path) -> Reporting:
    """The report and the trackers, for the run of the study in `path`; figures are imported when the first is drawn."""
    from selfsup.evaluation.metrics import METRICS
    from selfsup.execution.run import Reporting
    from selfsup.report.trackers import following, load_trackers

    def superfluous(results: pd.DataFrame) -> Iterable[str]:
        from selfsup.report.selection import superfluous_weights

        config = Study(path).config
        return superfluous_weights(results, METRICS[config.metric], seeds=config.seeds)

    def assets(*given: Any) -> None:
        from selfsup.report.assets import write_assets

        write_assets(*given)

    return Reporting(load_trackers, following, superfluous, assets, lambda growing: Study(path).report(growing=growing))


def _id(cell: str | Cell | CellResult) -> str:
    if isinstance(cell, Cell):
        return cell.id
    return cell.cell if isinstance(cell, CellResult) else str(cell)
