"""The command line: a thin layer on the Python API; its options are the configuration's own fields."""

from __future__ import annotations

import contextlib
import json
import math
import shlex
import signal
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from selfsup._version import __version__
from selfsup.config.grid import format_lr
from selfsup.errors import Interrupted, UserError

if TYPE_CHECKING:
    import pandas as pd
    from pydantic.fields import FieldInfo

    from selfsup.execution.estimate import Plan
    from selfsup.report import Answer
    from selfsup.study import Study

Command = TypeVar("Command", bound=Callable[..., Any])

#: Exit codes: a cell failed; the user gave something that does not fit; stopped by a signal (plus its number).
FAILED, REFUSED, STOPPED = 1, 2, 128


class _Group(click.Group):
    """Turns the errors that a user can mend into one sentence and exit code 2."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except UserError as error:
            click.echo(f"selfsup: {error}", err=True)
            sys.exit(REFUSED)
        except (Interrupted, KeyboardInterrupt) as stop:
            goes_on = "; the same command goes on from here" * (context.invoked_subcommand == "run")
            click.echo(f"selfsup: stopped{goes_on}.", err=True)
            sys.exit(STOPPED + (stop.signal if isinstance(stop, Interrupted) else signal.SIGINT))
        except BrokenPipeError:
            sys.exit(0)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="selfsup")
def main() -> None:
    """Which self-supervised method, learning rate, augmentation and number of labels work best on your images?

    Start with:  selfsup run FOLDER --preset quick
    """


def _study_options(command: Command) -> Command:
    """Add an option for every field of the configuration."""
    from selfsup.config.schema import StudyConfig, list_presets
    from selfsup.execution.executors import DEFAULT, executor_names, executor_options

    for known in reversed(executor_options()):
        command = _field_option(known.name, known.field, only_with=known.executors)(command)
    for name, field in reversed(StudyConfig.model_fields.items()):
        if name in {"data", "settings"}:
            continue
        command = _field_option(name, field)(command)
    shared: list[Callable[[Command], Command]] = [
        click.option("--config", type=click.Path(dir_okay=False), help="TOML file with any of the options below."),
        click.option("--preset", help=f"Where to start from: {', '.join(list_presets())}. [recommended]"),
        click.option("--executor", help=f"Where cells run: {', '.join(executor_names())}. [{DEFAULT}]"),
        click.option("--set", "settings", multiple=True, metavar="METHOD.NAME=VALUE", help="A setting of one method."),
        click.argument("data", required=False),
    ]
    for decorate in shared:
        command = decorate(command)
    return command


def _field_option(name: str, field: FieldInfo, only_with: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """The option for a field of the configuration or of some executors."""
    flag = "--" + name.replace("_", "-")
    help = f"({', '.join(only_with)}) {field.description}" if only_with else field.description or ""
    if field.annotation is bool:
        return click.option(flag, name, is_flag=True, default=None, help=help)
    return click.option(flag, name, metavar="VALUE", help=f"{help}{_default(field.default)}")


def _default(value: Any) -> str:
    if value in (None, {}, ()):
        return ""
    shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
    return f" [{shown}]"


@main.command()
@_study_options
@click.option(
    "--out",
    type=click.Path(),
    help="The study's folder, or an address such as s3://bucket/study. [studies/<name of DATA>]",
)
@click.option("--quiet", is_flag=True, help="Show nothing but the final table.")
@click.option("--json", "as_json", is_flag=True, help="Print the final table as JSON.")
def run(out: str | None, quiet: bool, as_json: bool, **given: Any) -> None:
    """Compare methods on DATA: a folder of images, or the name of a data set [digits].

    The same command goes on with a study that was stopped; a larger grid runs only what is new.

    In brackets: what holds without --preset, the values of the preset `recommended`.
    """
    from selfsup.execution.watchers import counted
    from selfsup.study import compare

    arguments = _arguments(given)
    study = compare(
        out=out,
        watcher=_watcher(quiet),
        command="selfsup " + shlex.join(sys.argv[1:]),
        **arguments,
    )
    _show_answer(study, as_json)
    failed = int((study.results.status == "failed").sum())
    if failed:
        click.echo(
            f"{counted(failed, 'cell')} failed; see cells/<cell>/log.txt and run the same command again.",
            err=True,
        )
        sys.exit(FAILED)


@main.command()
@_study_options
@click.option("--out", type=click.Path(), help="A study's folder: show what is finished there and what is left.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(out: str | None, as_json: bool, **given: Any) -> None:
    """Show the cells that `run` would train, the time and the disk; run nothing.

    In brackets: what holds without --preset, the values of the preset `recommended`.
    """
    from selfsup.execution.estimate import plan_study
    from selfsup.study import requested_values

    arguments = _arguments(given)
    data, preset, config = (arguments.pop(name, None) for name in ("data", "preset", "config"))
    made = plan_study(requested_values(data, preset=preset, config=config, options=arguments), out=out)
    _show_plan(made, as_json)


@main.command()
@click.argument("study")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def status(study: str, as_json: bool) -> None:
    """Show how far STUDY is: finished cells, and jobs on a cluster that wait or run."""
    from selfsup.execution.status import study_status
    from selfsup.study import load_study

    found = study_status(load_study(study).folder)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=1))
    else:
        click.echo("\n".join(found.lines()))


@main.command()
@click.argument("studies", metavar="STUDY...", nargs=-1, required=True)
@click.option("--format", "form", type=click.Choice(["html", "md", "pdf"]), default="html", help="[html]")
@click.option("--figures", type=click.Path(file_okay=False), help="Also write every figure, as PNG and PDF, here.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), help="Page of several studies. [selfsup-comparison.html]"
)
def report(studies: tuple[str, ...], form: str, figures: str | None, output: str | None) -> None:
    """Write the report of STUDY anew and print its path; of several, one page with all side by side."""
    if len(studies) > 1:
        _compare_studies(studies, form, figures, output)
        return
    if output is not None:
        raise UserError("-o is for a page of several studies; the report of one lies in its folder.")
    from selfsup.study import load_study

    study = load_study(studies[0])
    click.echo(study.report(form))
    if figures is not None:
        from selfsup.report.export import export_figures

        for path in export_figures(study.path, Path(figures)):
            click.echo(path)


@main.command()
@click.argument("study")
@click.argument("images", type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False), help="The .npz file to write.")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps. [auto]")
def embed(study: str, images: str, output: str, device: str) -> None:
    """Embed IMAGES with the backbone of STUDY's best cell, or of STUDY/CELL.

    The file holds `features` (float32, n x width) and `names` (n paths).
    """
    import io

    import numpy as np

    from selfsup.execution.watchers import counted
    from selfsup.inference import embed_images, find_cell
    from selfsup.record.folder import replace_file

    target = _writable(output)
    found, cell = find_cell(study)
    embeddings = embed_images(found, cell, images, device=device, say=_complain)
    content = io.BytesIO()
    np.savez_compressed(content, features=embeddings.features, names=np.array(embeddings.names))
    replace_file(target, content.getvalue())
    width = embeddings.features.shape[1]
    click.echo(f"{counted(len(embeddings.names), 'image')} embedded with {cell.cell} ({width} dimensions): {output}")


@main.command()
@click.argument("study")
@click.argument("images", type=click.Path())
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="The CSV file to write. [standard output]")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps. [auto]")
def predict(study: str, images: str, output: str | None, device: str) -> None:
    """Label IMAGES with the linear probe of STUDY's best cell, or of STUDY/CELL: path, class, probability."""
    from selfsup.execution.watchers import counted
    from selfsup.inference import find_cell, predict_images
    from selfsup.record.folder import replace_file

    target = None if output is None else _writable(output)
    found, cell = find_cell(study)
    table = predict_images(found, cell, images, device=device, say=_complain)
    text = table.to_csv(index=False)
    if target is None:
        click.echo(text, nl=False)
    else:
        replace_file(target, text.encode())
        click.echo(f"{counted(len(table), 'image')} labelled with {cell.cell}: {output}")


@main.command(name="list")
@click.argument(
    "kind",
    type=click.Choice(["methods", "augmentations", "datasets", "backbones", "presets", "schedulers", "trackers"]),
)
@click.argument("pattern", default="*")
def list_(kind: str, pattern: str) -> None:
    """Show what there is to choose from; PATTERN narrows the backbones, for example 'resnet*'."""
    from selfsup.cli import listing

    for line in getattr(listing, kind)(pattern):
        click.echo(line)


# -- between click and the API ----------------------------------------------------------------------


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    """What was given on the command line, and nothing else."""
    arguments = {name: value for name, value in given.items() if value is not None and value != ()}
    if "settings" in arguments:
        arguments["settings"] = _settings(arguments["settings"])
    return arguments


def _settings(pairs: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    settings: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        method, dot, name = key.partition(".")
        if not (equals and dot and method and name and value):
            raise UserError(f"--set {pair} does not fit: write METHOD.NAME=VALUE, for example moco.temperature=0.1.")
        settings.setdefault(method, {})[name.replace("-", "_")] = _typed(value)
    return settings


def _typed(value: str) -> Any:
    """A value as it would be in a TOML file, so that both mean the same; what TOML cannot read is text."""
    with contextlib.suppress(tomllib.TOMLDecodeError):
        return tomllib.loads(f"value = {value}")["value"]
    return value


def _watcher(quiet: bool) -> Any:
    from selfsup.execution.watchers import Lines, Live, Silent

    if quiet:
        return Silent()
    return Live() if sys.stderr.isatty() else Lines()


def _compare_studies(studies: tuple[str, ...], form: str, figures: str | None, output: str | None) -> None:
    from selfsup.report import export_comparison, write_comparison
    from selfsup.study import load_study

    if form != "html":
        raise UserError(f"--format {form} is for the report of one study; name one, or leave it out.")
    folders = [load_study(study).path for study in studies]
    page = _writable(output or "selfsup-comparison.html")
    drawn = [] if figures is None else export_comparison(folders, Path(figures))
    for path in (write_comparison(folders, page), *drawn):
        click.echo(path)


def _complain(line: str) -> None:
    click.echo(line, err=True)


def _writable(output: str) -> Path:
    path = Path(output)
    if not path.name:
        raise UserError(f"-o '{output}' names no file; name the one to write.")
    if not path.parent.is_dir():
        raise UserError(f"-o {output} cannot be written: there is no folder '{path.parent}'; make it first.")
    return path


def _show_answer(study: Study, as_json: bool) -> None:
    from selfsup.execution.watchers import counted
    from selfsup.record.storage import shown
    from selfsup.report import answer, answer_table, headline

    found = answer(study.path)
    table = answer_table(found)
    if not found.labelled:
        table = _with_measures(table, found, study.results)
    report = study.path / "report.html"
    if as_json:
        summary = {"headline": headline(found), "answer": _records(table), "report": str(report)}
        click.echo(json.dumps(summary, indent=1))
        return
    _print_table(table, _ACCURACIES if found.labelled else _MEASURES)
    click.echo(headline(found))
    counts = study.results.status.value_counts()
    statuses = ", ".join(f"{n} {status}" for status, n in counts.items())
    click.echo(f"{counted(len(study.results), 'cell')}: {statuses}")
    click.echo(f"Report: {report}")
    if study.address:
        click.echo(f"Study: {shown(study.address)}")


#: Columns of the final table: heading and how a row fills it.
_ACCURACIES: dict[str, Callable[[Any], str]] = {
    "val": lambda row: _number(row.val_accuracy, ".3f"),
    "test": lambda row: _number(row.test_accuracy, ".3f"),
    "95 %": lambda row: "–".join(filter(None, (_number(row.test_low, ".3f"), _number(row.test_high, ".3f")))),
}
_MEASURES: dict[str, Callable[[Any], str]] = {
    "eff. rank": lambda row: _number(row.effective_rank, ".1f"),
    "stability": lambda row: _number(row.cluster_stability, ".3f"),
    "silhouette": lambda row: _number(row.silhouette, ".3f"),
    "seeds": lambda row: str(row.seeds),
}


def _with_measures(table: pd.DataFrame, found: Answer, results: pd.DataFrame) -> pd.DataFrame:
    """The answer with more measures that need no labels: means over the seeds of each choice."""
    import pandas as pd

    measures = results.set_index("cell")[["cluster_stability", "silhouette"]]
    means = [measures.loc[list(choice.cells)].mean() for choice in found.choices]
    return table.join(pd.DataFrame(means, columns=measures.columns).reset_index(drop=True))


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return records


def _print_table(table: pd.DataFrame, columns: dict[str, Callable[[Any], str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table("method", "per class", "augmentation", "lr", box=None, pad_edge=False)
    for heading in columns:
        shown.add_column(heading, justify="right")
    for row in table.itertuples():
        shown.add_row(*_settings_of(row), *(fill(row) for fill in columns.values()))
    Console().print(shown)


def _settings_of(row: Any) -> list[str]:
    lr = "" if math.isnan(row.lr) else format_lr(row.lr)
    return [row.method, row.per_class, row.augmentation, lr]


def _number(value: float, form: str) -> str:
    return "" if math.isnan(value) else format(value, form)


def _show_plan(made: Plan, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_plan_values(made), indent=1))
        return
    for cell in made.grid.cells:
        click.echo(f"{cell.id}{'  finished' * (cell.id in made.finished)}")
    for line in (*made.grid.notices, made.resources.hardware.reason, _files_set_aside(made), _summary(made)):
        if line:
            click.echo(line)


def _plan_values(made: Plan) -> dict[str, Any]:
    resources = made.resources
    return {
        "cells": [cell.id for cell in made.grid.cells],
        "finished": [cell.id for cell in made.grid.cells if cell.id in made.finished],
        "trainings": len(made.grid.jobs),
        "images": made.images,
        "image_size": made.config.side,
        "device": resources.hardware.device,
        "precision": resources.hardware.precision,
        "workers": resources.workers,
        "threads": resources.threads,
        "seconds": made.seconds,
        "bytes": made.bytes,
        "store_bytes": made.store_bytes,
    }


def _files_set_aside(made: Plan) -> str:
    from selfsup.execution.watchers import describe_set_aside

    whole = made.opened == made.images
    return describe_set_aside(
        made.audit, f"found without decoding{'' if whole else f', in {made.opened} of {made.images} images'}"
    )


def _summary(made: Plan) -> str:
    """What is finished, what is left, how long it takes and how much disk."""
    from selfsup.execution.watchers import counted, format_bytes, format_duration

    resources, left = made.resources, len(made.grid.cells) - len(made.finished)
    workers = f"{counted(resources.workers, 'worker')} of {counted(resources.threads, 'thread')}"
    if left:
        work = f"about {format_duration(made.seconds)} with {workers}"
        work = f"{len(made.finished)} finished, {left} left; {work} for those" if made.finished else work
    else:
        work = "all finished, nothing left to do"
    return (
        f"{counted(len(made.grid.cells), 'cell')} of {counted(made.images, 'image')} in views of "
        f"{made.config.side} px: {work}; "
        f"about {format_bytes(made.bytes)} for the study and at most {format_bytes(made.store_bytes)} for the "
        f"decoded images."
    )
