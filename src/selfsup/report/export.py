"""The report for elsewhere: every figure as PNG and PDF for a paper, the whole as Markdown or PDF."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from io import BytesIO
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import quote

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from selfsup.atomic import replace_file, writing_to
from selfsup.evaluation.confusions import Confusions
from selfsup.figures.canvas import LIGHT, any_letters, new_figure, shown_groups, to_pdf, to_png
from selfsup.figures.heatmaps import heatmaps
from selfsup.figures.tsne import tsne_picture
from selfsup.report import wording
from selfsup.report.findings import Answer, Comparison
from selfsup.report.pictures import (
    NamedFigure,
    confusion_figure,
    curves_figure,
    training_figures,
)
from selfsup.report.recorded import RecordedStudy, read_study
from selfsup.report.series import heatmap_panels
from selfsup.report.table import headline
from selfsup.report.verdict import answer_study

#: An upright A4 page, in inches.
PAGE = (8.27, 11.69)
LINES_PER_PAGE, CHARACTERS_PER_LINE = 78, 108


def export_figures(study_dir: Path, folder: Path, asked: Mapping[str, Any] = {}) -> list[Path]:
    """Write every figure of a study's report into `folder`, as PNG and as PDF.

    Raises
    ------
    UserError
        If `study_dir` is not a study, or `folder` cannot be written.
    """
    study = read_study(study_dir, asked)
    return write_figures(figures_of(study, answer_study(study)), folder)


def write_figures(figures: Iterable[NamedFigure], folder: Path) -> list[Path]:
    """Write figures into `folder`, each as PNG and as PDF; returns the paths."""
    with writing_to(folder, "choose another folder"):
        folder.mkdir(parents=True, exist_ok=True)
    written = []
    for figure in figures:
        for suffix, save in ((".png", to_png), (".pdf", to_pdf)):
            path = folder / f"{figure.name}{suffix}"
            replace_file(path, figure.draw(save=save))
            written.append(path)
    return written


def write_markdown(study_dir: Path, asked: Mapping[str, Any] = {}, *, to: Path | None = None) -> Path:
    """Write ``report.md`` into the study's folder, or the file `to`; beside it its figures, in ``report-figures/``."""
    study = read_study(study_dir, asked)
    found = answer_study(study)
    path = to or study.path / "report.md"
    folder = figures_beside(path)
    with writing_to(folder, "choose another folder"):
        folder.mkdir(parents=True, exist_ok=True)
    lines = [f"# {_plain(study.dataset['name'])}", ""]
    for sentence in _opening(study, found):
        lines += [f"**{_plain(sentence)}**", ""]
    for title, rows in _tables(found):
        lines += [f"## {title}", "", *_markdown_table(rows), ""]
    if found.caveats:
        lines += ["## What was not shown", "", *(f"* {_plain(sentence)}" for sentence in found.caveats), ""]
    for figure in figures_of(study, found):
        replace_file(folder / f"{figure.name}.png", figure.draw(save=to_png))
        lines += [
            f"## {_plain(figure.caption)}",
            "",
            f"![{_plain(figure.caption)}]({quote(f'{folder.name}/{figure.name}.png')})",
            "",
        ]
    replace_file(path, "\n".join(lines).encode("utf-8", "backslashreplace"))
    return path


def figures_beside(report: Path) -> Path:
    """The folder of a Markdown report's figures."""
    return report.with_name(f"{report.stem}-figures")


def write_pdf(study_dir: Path, asked: Mapping[str, Any] = {}, *, to: Path | None = None) -> Path:
    """Write ``report.pdf`` into the study's folder, or the file `to`: the answer in words and tables, then a page per
    figure."""
    study = read_study(study_dir, asked)
    found = answer_study(study)
    content = BytesIO()
    with PdfPages(content, metadata={"Title": f"selfsup: {study.dataset['name']}", "CreationDate": None}) as pages:

        def add(figure: Figure) -> bytes:
            with any_letters(figure):
                pages.savefig(figure, facecolor=figure.get_facecolor())
            return b""

        for page in _text_pages(study, found):
            add(page)
        for drawn in figures_of(study, found):
            drawn.draw(save=add)
    path = to or study.path / "report.pdf"
    replace_file(path, content.getvalue())
    return path


def figures_of(study: RecordedStudy, found: Answer) -> Iterator[NamedFigure]:
    """The figures of a report, as far as the study has what they need."""
    if study.labelled and found.choices:
        if (curves := curves_figure(study, found)) is not None:
            yield curves
        if panels := heatmap_panels(study.results, study.metric):
            draw = partial(heatmaps, panels, score=found.metric.words, size=study.size_unit)
            yield NamedFigure("heatmaps", f"Learning rate against {study.size_unit}", draw)
    yield from training_figures(study, found)
    if found.best is None:
        return
    cell = study.cell_to_use(found.best.cells)
    if (embeddings := study.embeddings(cell)) is None:
        return
    groups, names = shown_groups(embeddings.labels, embeddings.predicted, study.classes)
    if study.labelled and not study.several:
        yield confusion_figure(cell, Confusions.of(embeddings.labels, embeddings.predicted), names)
    wrong = ~embeddings.correct if study.labelled and not study.several else None
    draw = partial(tsne_picture, embeddings.projection, groups, names, wrong=wrong, title=cell)
    yield NamedFigure("map", f"Map of the embeddings of {cell}", draw)


# -- words and tables ---------------------------------------------------------------------------


def _opening(study: RecordedStudy, found: Answer) -> Iterator[str]:
    """The answer, and how much of the study it rests on."""
    yield headline(found)
    if study.unfinished:
        yield f"Unfinished: {study.unfinished}."


def _tables(found: Answer) -> Iterator[tuple[str, list[Sequence[str]]]]:
    """Titles and rows, the heading first."""
    if found.choices:
        score = "validation" if found.labelled else "effective rank"
        beside = [found.beside.words] if found.beside else []
        rows: list[Sequence[str]] = [
            ("method", f"per {found.category}", "augmentation", "lr", score, "test", "95 % interval", *beside, "seeds")
        ]
        rows += [
            (
                choice.name,
                choice.per_class,
                choice.augmentation or wording.NOTHING,
                wording.learning_rate(choice.lr),
                f"{choice.score:.3f}" if found.labelled else f"{choice.score:.1f}",
                wording.score(choice.test_score),
                wording.interval(choice.interval),
                *(wording.score(choice.beside) for _ in beside),
                str(choice.seeds),
            )
            for choice in found.choices
        ]
        title = "Chosen settings" if found.chosen else "Settings"
        yield f"{title}{f' and their {found.metric.words}' if found.labelled else ''}", rows
    if found.external:
        rows = [("method", "test, same classes", "external test", "95 % interval", "change", "95 % interval")]
        rows += [
            (
                e.choice.name,
                wording.score(e.here),
                wording.score(e.score),
                wording.interval(e.interval),
                wording.signed(e.score - e.here),
                wording.signed_interval(e.change),
            )
            for e in found.external
        ]
        yield "External test", rows
    within = [f"within {wording.points(found.margin)}"] if found.margin else []
    if found.comparisons and found.best:
        rows = [("against", "seeds", "difference", "95 % interval", "p, corrected", "so it is", *within)]
        rows += [_compared(c, found) for c in found.comparisons]
        yield f"{found.best.name} against the others", rows
    if found.pairwise:
        heading = ("method", "against", "seeds", "difference", "95 % interval", "p, corrected", "so it is", *within)
        rows = [(f"per {found.category}", *heading)]
        rows += [(c.one.per_class, c.one.name, *_compared(c, found)) for c in found.pairwise]
        yield "Each method against each other one", rows


def _compared(c: Comparison, found: Answer) -> tuple[str, ...]:
    return (
        c.other.name,
        str(c.test.interval.seeds),
        wording.signed(c.test.difference),
        wording.signed_interval(c.test.interval),
        wording.p_value(c.p_adjusted).removeprefix("= "),
        c.verdict,
        *(("shown" if c.within else "not shown",) if found.margin else ()),
    )


def _markdown_table(rows: list[Sequence[str]]) -> Iterator[str]:
    head, *body = ([_plain(cell) for cell in row] for row in rows)
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in body:
        yield f"| {' | '.join(row)} |"


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is: nobody's class name becomes a link, a tag or a table's border."""
    flat = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{c}" if c in "\\`*_[]|#" else c for c in flat)


def _text_table(rows: list[Sequence[str]]) -> Iterator[str]:
    """Lines of a table no wider than the page: headings are broken where they must be, then the widest columns."""
    columns = list(zip(*rows, strict=True))
    widths, room = [max(map(len, column)) for column in columns], CHARACTERS_PER_LINE - 2 * (len(columns) - 1)
    if sum(widths) > room:
        widths = [max(map(len, (*heading.split(), *cells))) for heading, *cells in columns]
    while sum(widths) > room:
        widths[widths.index(max(widths))] -= 1
    for row in rows:
        cells = [textwrap.wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
        for line in zip_longest(*cells, fillvalue=""):
            yield "  ".join(f"{part:<{width}}" for part, width in zip(line, widths, strict=True)).rstrip()


def _text_pages(study: RecordedStudy, found: Answer) -> Iterator[Figure]:
    lines = []
    for sentence in _opening(study, found):
        lines += [*textwrap.wrap(sentence, CHARACTERS_PER_LINE), ""]
    for title, rows in _tables(found):
        lines += [title, "", *_text_table(rows), ""]
    if found.caveats:
        lines += ["What was not shown", ""]
        for sentence in found.caveats:
            lines += textwrap.wrap(sentence, CHARACTERS_PER_LINE, initial_indent="- ", subsequent_indent="  ")
    for start in range(0, len(lines), LINES_PER_PAGE):
        page = new_figure(*PAGE, LIGHT)
        page.text(0.06, 0.955, study.dataset["name"], fontsize=13, weight="bold", color=LIGHT.ink, parse_math=False)
        page.text(
            0.06,
            0.935,
            "\n".join(lines[start : start + LINES_PER_PAGE]),
            fontsize=8,
            family="monospace",
            va="top",
            linespacing=1.35,
            color=LIGHT.ink,
            parse_math=False,
        )
        yield page
