"""The report for elsewhere: figures for a paper, Markdown, PDF."""

from __future__ import annotations

import io
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from selfsup.errors import UserError
from selfsup.report import wording
from selfsup.report.export import _text_pages, export_figures, write_markdown, write_pdf
from selfsup.report.recorded import read_study
from selfsup.report.table import headline
from selfsup.report.verdict import answer, answer_study

FIGURES = {"curves", "heatmaps", "training-moco", "training-supervised", "confusion", "map"}


def pages_of(pdf: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b", pdf))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    from study_folder import FolderWriter

    writer = FolderWriter(
        tmp_path_factory.mktemp("export") / "study",
        methods=("moco", "supervised", "frozen"),
        classes=("a|b", "*c*", "<d>", "日本", *"efghij"),
    )
    return writer.write()


def test_every_figure_is_written_as_png_and_as_pdf(study, tmp_path):
    written = export_figures(study, tmp_path / "figures")
    assert {path.name for path in written} == {f"{name}.{kind}" for name in FIGURES for kind in ("png", "pdf")}
    for path in written:
        if path.suffix == ".png":
            assert min(Image.open(io.BytesIO(path.read_bytes())).size) > 200
        else:
            assert path.read_bytes().startswith(b"%PDF")
            assert pages_of(path.read_bytes()) == 1


def test_the_pdf_has_the_answer_and_a_page_per_figure(study):
    content = write_pdf(study).read_bytes()
    assert pages_of(content) == 1 + len(FIGURES)


def test_markdown_holds_the_answer_the_tables_and_the_figures(study):
    path = write_markdown(study)
    text = path.read_text(encoding="utf-8")
    found = answer(study)
    assert f"**{headline(found)}**" in text
    for choice in found.choices:
        assert f"| {choice.method} | {choice.per_class} |" in text
        assert f"| {choice.test_score:.3f} |" in text
    for name in re.findall(r"\]\((.+)\)", text):
        assert (study / name).is_file()
    assert set(re.findall(r"report-figures/(.+)\.png", text)) == FIGURES


def test_tables_of_long_names_stay_on_the_page_and_lose_nothing(make_study):
    writer = make_study(
        methods=("simclr", "reference"),
        augmentations=("weak",),
        lrs=(0.06,),
        reference="vit_small_patch14_reg4_dinov2.lvd142m",
    )
    study = read_study(writer.path, {"margin": 0.01})
    found = answer_study(study)
    written = [text for page in _text_pages(study, found) for text in page.texts]
    for text in written:
        assert text.get_window_extent(text.figure.canvas.get_renderer()).x1 < text.figure.bbox.x1
    words = "".join("".join(text.get_text().split()) for text in written)
    assert all("".join(wording.signed_interval(c.test.interval).split()) in words for c in found.pairwise)
    assert words.count("shown") >= 2 * len(found.pairwise)


def test_figures_of_several_networks_are_found_from_markdown(make_study):
    study = make_study(
        methods=("moco",), augmentations=("weak",), lrs=(0.06,), sizes=("20",), backbones=("resnet18", "resnet34")
    ).path
    # A link ends at the first space, and what is written in it stands for other characters.
    links = re.findall(r"!\[.*\]\((\S+)\)$", write_markdown(study).read_text(), flags=re.MULTILINE)
    assert {Path(unquote(link)).name for link in links} >= {"training-moco resnet18.png", "training-moco resnet34.png"}
    assert all((study / unquote(link)).is_file() for link in links)


def test_markdown_has_the_tests_that_its_limits_speak_of(study):
    text = write_markdown(study).read_text(encoding="utf-8")
    assert "tested under “Each method against each other one”" in text
    _, table = text.split("## Each method against each other one\n")
    rows = [line for line in table.split("\n## ")[0].splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(answer(study).pairwise) > 1


def test_names_stay_text_in_markdown(make_study):
    import json

    writer = make_study(methods=("moco",), sizes=("20",))
    path = writer.path / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"name": "[x](http://y) <b> | *z*\n# h"}))
    first = write_markdown(writer.path).read_text().splitlines()[0]
    assert first == r"# \[x\](http://y) &lt;b&gt; \| \*z\* \# h"


def test_an_unlabelled_study_and_an_empty_one_are_written_too(make_study, tmp_path):
    bare = make_study("bare", labelled=False, methods=("moco", "frozen"), sizes=("all",)).path
    assert {path.stem for path in export_figures(bare, tmp_path / "f")} == {"training-moco", "map"}
    assert "effective rank" in write_markdown(bare).read_text()
    empty = make_study("empty", methods=()).path
    assert pages_of(write_pdf(empty).read_bytes()) == 1
    assert "No cell has finished well." in write_markdown(empty).read_text()


def test_markdown_and_pdf_say_that_a_study_is_unfinished(make_study):
    writer = make_study(methods=("moco", "random"), sizes=("5",))
    assert "Unfinished" not in write_markdown(writer.path).read_text()
    (writer.path / "run.json").write_text('{"planned": 30}')
    assert "**Unfinished: 7 of 30 cells so far.**" in write_markdown(writer.path).read_text()
    study = read_study(writer.path)
    first = next(_text_pages(study, answer_study(study)))
    assert "\nUnfinished: 7 of 30 cells so far.\n" in first.texts[1].get_text()


def test_a_folder_that_cannot_be_made_is_refused(study, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written .*; choose another folder"):
        export_figures(study, tmp_path / "file" / "figures")
