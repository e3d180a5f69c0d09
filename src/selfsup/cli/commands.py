"""The commands: a thin layer on the Python API, which each imports when it is called."""

from __future__ import annotations

import atexit
import errno
import gc
import json
import shlex
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from selfsup._version import __version__
from selfsup.cli import listing
from selfsup.cli.console import Interrupts, ignore_interrupts, write_what_consoles_have
from selfsup.cli.options import PlaceParam, given_values, study_options
from selfsup.errors import Interrupted, UserError
from selfsup.execution.garbage import uncollected
from selfsup.plugins import plug_in_files

#: Exit codes: a cell failed; the user gave something that does not fit; stopped by a signal (plus its number).
FAILED, REFUSED, STOPPED = 1, 2, 128
#: What the system says of a path that nobody can read or write as it is.
UNUSABLE = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS)
#: What a report can be, which is also how its file ends.
FORMS = ("html", "md", "pdf")


class _Group(click.Group):
    """Turns the errors that a user can mend into one sentence and exit code 2."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        write_what_consoles_have()
        atexit.register(gc.freeze)  # or all objects of torch and timm are looked through at the end
        return super().make_context(*args, **kwargs)

    def invoke(self, context: click.Context) -> Any:
        with Interrupts() as interrupts:
            try:
                return super().invoke(context)
            except BrokenPipeError:  # of the result, once all is done: what is said on the way falls silent
                sys.exit(0)
            except (Exception, KeyboardInterrupt) as error:
                if interrupts.came or isinstance(error, Interrupted | KeyboardInterrupt):
                    ignore_interrupts()
                    left = "; the same command goes on from here" * (context.invoked_subcommand == "run")
                    click.echo(f"selfsup: stopped{getattr(error, 'left', '') or left}.", err=True)
                    sys.exit(STOPPED + (interrupts.came or getattr(error, "signal", signal.SIGINT)))
                if isinstance(error, OSError) and error.errno in UNUSABLE and error.filename:
                    place = f"'{str(error.filename)[:100]}{'…' * (len(str(error.filename)) > 100)}'"
                    error = UserError(f"{place} cannot be used ({error.strerror}); check the path, or who may use it.")
                if isinstance(error, UserError):
                    click.echo(f"selfsup: {error}", err=True)
                    sys.exit(REFUSED)
                raise


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="selfsup")
def main() -> None:
    """Which self-supervised method, learning rate, augmentation and number of labels work best on your images?

    Start with:  selfsup run FOLDER --preset quick
    """


@main.command()
@study_options
@click.option(
    "--out",
    type=PlaceParam(),
    help="The study's folder, or an address such as s3://bucket/study. [studies/<name of DATA>; with a manifest, "
    "studies/<name of DATA>-<name of the manifest>]",
)
@click.option("--quiet", is_flag=True, help="Show nothing but the final table.")
@click.option("--json", "as_json", is_flag=True, help="Print the final table as JSON.")
def run(out: str | None, quiet: bool, as_json: bool, **given: Any) -> None:
    """Compare methods on DATA: a folder of images, or the name of a data set [digits].

    The same command goes on with a study that was stopped; a larger grid runs only what is new.

    In brackets: what holds without --preset, the values of the preset `recommended`.
    """
    from selfsup.execution.words import counted
    from selfsup.study import compare

    arguments = given_values(given)
    study = compare(
        out=out,
        watcher=_watcher(quiet),
        command="selfsup " + shlex.join(sys.argv[1:]),
        **arguments,
    )
    from selfsup.cli.answer_text import show_answer  # its imports take seconds

    with suppress(BrokenPipeError, SystemExit):  # the latter is rich's, where nobody reads its table
        show_answer(study, as_json)
    failed = int((study.results.status == "failed").sum())
    if failed:
        _complain(f"{counted(failed, 'cell')} failed; see cells/<cell>/log.txt and run the same command again.")
        sys.exit(FAILED)


@main.command()
@study_options
@click.option("--out", type=PlaceParam(), help="A study's folder: show what is finished there and what is left.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(out: str | None, as_json: bool, **given: Any) -> None:
    """Show the cells that `run` would train, the time and the disk; run nothing.

    In brackets: what holds without --preset, the values of the preset `recommended`.
    """
    from selfsup.execution.executors._stop import deferred_interrupts

    with uncollected(), deferred_interrupts(at_once=True):
        from selfsup.execution.request import requested_run

        arguments = given_values(given)
        data, preset, config = (arguments.pop(name, None) for name in ("data", "preset", "config"))
        values, where = requested_run(data, preset=preset, config=config, options=arguments, out=out, anew=True)
        from selfsup.cli.plan_text import show_plan  # its imports, and those of the next, take seconds
        from selfsup.execution.estimate import plan_study

        made = plan_study(values, out=out, executor=where, say=_complain)
    show_plan(made, as_json)


@main.command()
@click.argument("study", type=PlaceParam())
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
@click.argument("studies", type=PlaceParam(), metavar="STUDY...", nargs=-1, required=True)
@click.option("--format", "form", type=click.Choice(FORMS), help="[by the ending of -o, else html]")
@click.option("--figures", type=PlaceParam(file_okay=False), help="Also write every figure, as PNG and PDF, here.")
@click.option(
    "-o",
    "--output",
    type=PlaceParam(dir_okay=False),
    help="The file to write. [report.html in STUDY; of several, selfsup-comparison.html]",
)
@click.option("--metric", metavar="VALUE", help="Choose and compare by this metric. [the study's]")
@click.option("--margin", metavar="VALUE", help="Say which methods differ by less than this. [the study's]")
def report(
    studies: tuple[str, ...],
    form: str | None,
    figures: str | None,
    output: str | None,
    metric: str | None,
    margin: str | None,
) -> None:
    """Write the report of STUDY anew and print its path; of several, one page with all side by side."""
    target = None
    if output is not None:
        target = _writable(output, tuple(f".{each}" for each in ([form] if form else FORMS)))
        form = target.suffix[1:].lower()
    form = form or "html"
    if len(studies) > 1:
        _compare_studies(studies, form, figures, target, metric=metric, margin=margin)
        return
    from selfsup.study import load_study

    study = load_study(studies[0])
    click.echo(study.report(form, to=target, metric=metric, margin=margin))
    if figures is not None:
        from selfsup.report.export import export_figures
        from selfsup.report.recorded import asked_for

        for path in export_figures(study.path, Path(figures), asked_for(metric=metric, margin=margin)):
            click.echo(path)


@main.command()
@click.argument("study", type=PlaceParam())
@click.argument("images", type=PlaceParam())
@click.option("-o", "--output", required=True, type=PlaceParam(dir_okay=False), help="The file to write.")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps. [auto]")
def embed(study: str, images: str, output: str, device: str) -> None:
    """Embed IMAGES with the backbone of STUDY's best cell, or of STUDY/CELL.

    A file.npz holds `features` (float32, n x width) and `names` (n paths); a file.csv or file.parquet has a row per
    image, with its path.
    """
    from selfsup.atomic import replace_file
    from selfsup.execution.words import counted
    from selfsup.inference import ENDINGS, embed_images, find_cell

    target = _writable(output, ENDINGS)
    found, cell = find_cell(study)
    embeddings = embed_images(found, cell, images, device=device, say=_complain)
    replace_file(target, embeddings.encoded(target.suffix.lower()))
    width = embeddings.features.shape[1]
    click.echo(f"{counted(len(embeddings.names), 'image')} embedded with {cell.cell} ({width} dimensions): {output}")


@main.command()
@click.argument("study", type=PlaceParam())
@click.argument("images", type=PlaceParam())
@click.option(
    "-o",
    "--output",
    type=PlaceParam(dir_okay=False),
    help="The file.csv or file.parquet to write. [CSV on standard output]",
)
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps. [auto]")
def predict(study: str, images: str, output: str | None, device: str) -> None:
    """Label IMAGES with the linear probe of STUDY's best cell, or of STUDY/CELL: path, class, probability.

    Where images may have several labels: path, labels, and the probability of each label.
    """
    from selfsup.atomic import replace_file
    from selfsup.execution.words import counted
    from selfsup.inference import TABLE_ENDINGS, encode_table, find_cell, predict_images

    target = None if output is None else _writable(output, TABLE_ENDINGS)
    found, cell = find_cell(study)
    table = predict_images(found, cell, images, device=device, say=_complain)
    if target is None:
        click.echo(encode_table(table, ".csv"), nl=False)
    else:
        replace_file(target, encode_table(table, target.suffix.lower()))
        click.echo(f"{counted(len(table), 'image')} labelled with {cell.cell}: {output}")


@main.command(name="list")
@click.argument("kind", type=click.Choice(listing.CHOICES))
@click.argument("pattern", default="*")
@click.option(
    "--plugin", multiple=True, type=PlaceParam(), metavar="FILE", help="Show what this Python file brings, too."
)
def list_(kind: str, pattern: str, plugin: tuple[str, ...]) -> None:
    """Show what there is to choose from; PATTERN narrows it by name, for example 'resnet*'."""
    plug_in_files(plugin)
    lines = list(listing.lines(kind, pattern))
    if not lines:
        raise UserError(f"No name of `selfsup list {kind}` matches '{pattern}'; leave it out to see them all.")
    click.echo("\n".join(lines))


def _watcher(quiet: bool) -> Any:
    from selfsup.execution.watchers import Lines, Live, Watcher

    if quiet:
        return Watcher()
    return Live() if sys.stderr.isatty() else Lines()


def _compare_studies(
    studies: tuple[str, ...], form: str, figures: str | None, target: Path | None, **settings: str | None
) -> None:
    from selfsup.report.recorded import asked_for
    from selfsup.report.side_by_side import export_comparison, write_comparison
    from selfsup.study import load_study

    if form != "html":
        raise UserError(f"Several studies make one HTML page, and no {form}; name one study, or a file.html.")
    folders = [load_study(study).path for study in studies]
    page, asked = target or _writable("selfsup-comparison.html"), asked_for(**settings)
    drawn = [] if figures is None else export_comparison(folders, Path(figures), asked)
    for path in (write_comparison(folders, page, asked), *drawn):
        click.echo(path)


def _complain(line: str) -> None:
    from selfsup.execution.watchers import Lines

    Lines().say(line)


def _writable(output: str, endings: tuple[str, ...] = ()) -> Path:
    """The file to write, in a folder that is there, with one of the endings if there are some."""
    path = Path(output)
    if not path.name:
        raise UserError(f"-o '{output}' names no file; name the one to write.")
    if not path.parent.is_dir():
        raise UserError(f"-o {output} cannot be written: there is no folder '{path.parent}'; make it first.")
    if endings and path.suffix.lower() not in endings:
        raise UserError(f"-o {output} ends in none of {', '.join(endings)}; name the file by what it is to hold.")
    return path
