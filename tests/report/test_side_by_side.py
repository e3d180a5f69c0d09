"""Several studies on one page."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from PIL import Image

from page_reader import PageReader
from selfsup.cli.commands import main
from selfsup.errors import UserError
from selfsup.report import side_by_side
from selfsup.report.side_by_side import export_comparison, write_comparison
from selfsup.report.verdict import answer, answer_study


@pytest.fixture
def named_study(make_study):
    """Make a study of a data set of this name."""

    def make(name: str, *, folder: str | None = None, config: str = "", **settings):
        writer = make_study(folder or f"study-{len(name)}-{hash(name) % 1000}", sizes=("5", "20"), **settings)
        path = writer.path / "dataset.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"name": name}))
        (writer.path / "images.csv").write_text(f"path,class,digest\n{name}/0.png,{name},00\n")
        (writer.path / "config.toml").write_text(f'format = 2\ndata = "x"\nepochs = 100\n{config}')
        return writer.path

    return make


def page(studies, tmp_path) -> PageReader:
    return PageReader(write_comparison(studies, tmp_path / "page.html").read_text())


def test_every_study_has_its_answer_and_its_accuracies(named_study, tmp_path):
    studies = [named_study("field"), named_study("greenhouse", methods=("moco", "frozen"))]
    visible = page(studies, tmp_path).visible
    for study in studies:
        for choice in answer(study).choices:
            assert f"{choice.test_score:.3f}" in visible
    assert "field" in visible
    assert "Best self-supervised method on these images: moco" in visible
    assert "No ranks: methods are ranked from 3 different data sets on, and these studies are of 2." in visible


def test_it_says_which_study_is_unfinished_and_which_images_each_answer_is_for(named_study, make_study, tmp_path):
    studies = [named_study("field"), make_study("more", methods=("moco", "random"), sizes=("all",)).path]
    (studies[0] / "run.json").write_text('{"planned": 99}')
    table = page(studies, tmp_path).visible.split("Test accuracy")[0]
    field, more = table.split("10 classes")[1:]
    assert "20 images per class" in field and "Unfinished: 52 of 99 cells so far." in field
    assert "all images" in more and "Unfinished" not in more


def test_a_table_has_the_methods_that_some_study_has_at_its_size(named_study, make_study, tmp_path):
    more = make_study("more", methods=("byol", "random"), sizes=("all",)).path
    found = page([named_study("field", methods=("moco", "random")), more], tmp_path)
    few, many = found.visible.split("20 per class")[1].split("all of each class")
    assert "moco" in few and "byol" not in few
    assert "byol" in many.split("Ranks over")[0] and "moco" not in many.split("Ranks over")[0]


def test_settings_that_differ_are_shown_and_others_are_not(named_study, tmp_path):
    studies = [named_study("before"), named_study("after", config="[settings.moco]\ntemperature = 0.1\n")]
    visible = page(studies, tmp_path).visible
    assert "moco.temperature – 0.1" in visible
    assert "epochs" not in visible


def test_three_data_sets_are_ranked(named_study, tmp_path):
    found = page([named_study(name) for name in ("a", "bb", "ccc")], tmp_path)
    assert "Average rank of each method over 3 data sets" in found.visible
    assert "3 data sets can show large differences only" in found.visible
    alts = [attributes["alt"] for tag, attributes in found.elements if tag == "img"]
    assert alts
    assert alts[0].startswith("Critical-difference diagram: supervised 1.00, moco 2.00")


def test_several_studies_of_a_data_set_count_once_in_the_ranks(named_study, tmp_path):
    again = [named_study("a", folder=f"again {number}") for number in range(5)]
    found = page([*again, named_study("bb"), named_study("ccc")], tmp_path)
    assert "Average rank of each method over 3 data sets" in found.visible


def test_three_studies_of_one_data_set_are_not_ranked(named_study, tmp_path):
    studies = [named_study("same", folder=folder) for folder in ("one", "two", "three")]
    found = page(studies, tmp_path)
    assert "No ranks: methods are ranked from 3 different data sets on, and these studies are of 1." in found.visible
    assert "same (two)" in found.visible


def test_three_data_sets_with_one_method_in_common_have_no_ranks_and_the_page_says_that(named_study, tmp_path):
    studies = [named_study(name, methods=(name, "random")) for name in ("moco", "byol", "simclr")]
    missing = "at least 2 methods must be in each study at its largest number of images, and only random is in all"
    assert f"No ranks: {missing}." in page(studies, tmp_path).visible
    with pytest.raises(UserError, match=missing):
        export_comparison(studies, tmp_path / "figures")


def test_the_diagram_is_written_for_a_paper(named_study, tmp_path):
    studies = [named_study(name) for name in ("a", "bb", "ccc")]
    written = export_comparison(studies, tmp_path / "figures")
    assert [path.name for path in written] == ["critical-difference.png", "critical-difference.pdf"]
    assert min(Image.open(written[0]).size) > 150
    assert written[1].read_bytes().startswith(b"%PDF")


def test_two_data_sets_have_no_diagram_to_write(named_study, tmp_path):
    with pytest.raises(UserError, match="ranked from 3 different data sets on"):
        export_comparison([named_study("a"), named_study("bb")], tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


def test_hostile_names_stay_text_and_nothing_is_loaded(named_study, tmp_path):
    found = page([named_study("<script>alert(1)</script>"), named_study("{{ 7 * 7 }}")], tmp_path)
    assert "<script>alert(1)</script>" in found.visible
    assert "{{ 7 * 7 }}" in found.visible
    assert found.scripts == []
    assert all(address.startswith(("data:", "#")) for address in found.addresses())


def test_one_study_twice_is_refused(named_study, tmp_path):
    study = named_study("field")
    with pytest.raises(UserError, match="is named twice"):
        write_comparison([study, study], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_an_unlabelled_study_can_stand_beside_others(named_study, make_study, tmp_path):
    other = make_study("bare", labelled=False, methods=("moco", "simclr"), sizes=("20",)).path
    assert "A weak recommendation, without labels" in page([named_study("field"), other], tmp_path).visible


@pytest.mark.parametrize(
    ("categories", "words"), [(["label", "label", "label"], "label"), (["class", "label", "class"], "class or label")]
)
def test_images_of_several_labels_are_counted_per_label(named_study, tmp_path, monkeypatch, categories, words):
    left = iter(categories)
    monkeypatch.setattr(side_by_side, "answer_study", lambda study: replace(answer_study(study), category=next(left)))
    settings = {"methods": ("moco", "random"), "augmentations": ("weak",), "lrs": (0.06,)}
    visible = page([named_study(name, **settings) for name in ("a", "bb", "ccc")], tmp_path).visible
    assert f"5 per {words} method" in visible
    assert f"largest number of images per {words}, 1 the best" in visible


def test_settings_are_chosen_on_validation_where_there_were_several(named_study, tmp_path):
    one = {"lrs": (0.06,), "augmentations": ("weak",)}
    for settings, said in (({}, True), (one, False)):
        studies = [named_study(f"{name}{said}", methods=("moco", "random"), **settings) for name in "ab"]
        assert ("with the settings chosen on validation" in page(studies, tmp_path).visible) == said


def test_a_diagram_that_cannot_be_drawn_is_said_before_the_page_is_written(named_study, tmp_path):
    page = tmp_path / "page.html"
    studies = [str(named_study(name)) for name in ("a", "bb")]
    shown = CliRunner().invoke(main, ["report", *studies, "-o", str(page), "--figures", str(tmp_path / "figures")])
    assert shown.exit_code == 2
    assert "name other studies" in shown.stderr
    assert not page.exists()


def test_studies_that_compare_by_different_metrics_need_one_for_all(make_study, tmp_path):
    one, other = (make_study(name, methods=("moco", "random"), sizes=("20",)).path for name in ("one", "other"))
    with (other / "config.toml").open("a") as file:
        file.write('metric = "macro-f1"\n')
    with pytest.raises(UserError, match=r"different metrics \(accuracy, macro F1\); name one for all with --metric"):
        write_comparison([one, other], tmp_path / "page.html")
    page = write_comparison([one, other], tmp_path / "page.html", {"metric": "macro-f1"})
    assert "Test macro F1" in page.read_text(encoding="utf-8")
