"""The page of a study, whatever state the study is in: complete, in one file, and safe."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import numpy as np
import pytest
from study_folder import FolderWriter

from page_reader import PageReader
from selfsup.errors import UserError
from selfsup.report.assets import write_assets
from selfsup.report.page import shown_columns, write_report
from selfsup.report.recorded import read_study
from selfsup.report.series import size_places
from selfsup.report.table import headline
from selfsup.report.verdict import answer, answer_study
from selfsup.study import Study

HOSTILE = (
    "<b>bold</b>",
    "</script><script>alert(1)</script>",
    "{{ 7 * 7 }}",
    "@{file} {} $x",
    "\"'><img src=x onerror=alert(1)>",
    "--> <!--",
    "日本語",
    "x" * 120,
)


def read(path) -> PageReader:
    return PageReader(path.read_text(encoding="utf-8"))


@pytest.fixture
def report(make_study):
    """Write a study with its assets and its report; returns the page."""

    def make(**settings) -> PageReader:
        writer = make_study(**settings)
        write_assets(writer.path, writer.store, writer.indices)
        return read(write_report(writer.path, "selfsup run photos --epochs 100"))

    return make


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> FolderWriter:
    """A whole study with its report; read only."""
    writer = FolderWriter(
        tmp_path_factory.mktemp("page") / "study",
        audit=(("a/b.png", "unreadable", "truncated"),),
    )
    writer.write()
    write_assets(writer.path, writer.store, writer.indices)
    write_report(writer.path, "selfsup run photos --epochs 100")
    return writer


@pytest.fixture(scope="module")
def page(full) -> PageReader:
    """The report of the whole study."""
    return read(full.path / "report.html")


def test_the_answer_stands_first(page):
    heading = next(i for i, (tag, _) in enumerate(page.elements) if tag == "h1")
    assert heading < min(i for i, (tag, _) in enumerate(page.elements) if tag in ("table", "img"))
    assert "Use moco with weak augmentation at learning rate 0.06" in page.visible


def test_the_first_screen_says_how_sure_and_what_it_cost(full, page):
    found = answer(full.path)
    visible = page.visible
    first = visible[: visible.index("Accuracy and images per class")]
    assert f"test accuracy of {found.best.test_score:.3f}" in first
    assert f"{found.best.interval.low:.3f}–{found.best.interval.high:.3f}" in first
    assert "one seed, over 360 test images" in first
    assert re.search(r"frozen \+0\.\d+ \+0\.\d+ to \+0\.\d+ better", first)
    assert "McNemar" in first
    assert "What was not shown" in first
    assert "One training with these settings took" in first
    for choice in found.choices:
        assert f"{choice.test_score:.3f}" in first


def test_everything_it_rests_on_follows(page):
    for words in (
        "Learning rate against images per class",
        "learning rates are chosen on validation accuracy",
        "How the chosen cells trained",
        "Most frequent confusions",
        "Map of the embeddings",
        "Mistakes it was surest of",
        "All cells",
        "18 cells that diverged, collapsed or failed",
        "the loss was not finite in epoch 31",
        "Each method against each other one",
        "Choosing the highest of these test scores instead would have quoted",
        "1 observation on the images: 1 unreadable",
        "a/b.png",
        "selfsup run photos --epochs 100",
        'data = "digits"',
    ):
        assert words in page.visible, words


def test_the_page_needs_nothing_but_itself(page):
    fetched = page.addresses(links=False)
    assert fetched
    assert all(address.startswith(("data:", "#")) for address in fetched)
    assert not any("@import" in style or re.search(r"url\(\s*[\"']?(?!data:)", style) for style in page.styles)
    policy = next(a["content"] for t, a in page.elements if t == "meta" and a.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_what_evaluate_computes_is_shown():
    shown = {column.name for column in shown_columns()}
    assert {"finetune_accuracy", "layer_accuracy", "attentive_accuracy"} <= shown


def test_links_lead_into_the_study(make_study):
    writer = make_study(sizes=("20",))
    page = read(write_report(writer.path))
    targets = {a["href"] for t, a in page.elements if t == "a" and a["href"].startswith("cells/")}
    assert "cells/moco-resnet18-weak-lr0.06-n20-s0/tsne.html" in targets
    assert "cells/moco-resnet18-weak-lr10.0-n20-s0/" not in targets
    assert "cells/moco-resnet18-weak-lr10-n20-s0/" in targets


def test_the_page_and_best_name_one_cell_and_say_why_its_weights_are_not_there(make_study):
    writer = make_study(sizes=("20",), methods=("moco",), augmentations=("weak",), lrs=(0.06,), seeds=2)
    page, cells = writer.path / "report.html", writer.path / "cells"
    for keep, why in (("none", "--keep none keeps no weights."), ("best", "--keep best removed the weights of these.")):
        (writer.path / "config.toml").write_text(f'format = 2\nkeep = "{keep}"\n')
        assert why in read(write_report(writer.path)).visible
    (cells / "moco-resnet18-weak-lr0.06-n20-s1" / "backbone.safetensors").touch()
    assert "Its backbone: cells/moco-resnet18-weak-lr0.06-n20-s1/" in read(write_report(writer.path)).visible
    assert "The best cell moco-resnet18-weak-lr0.06-n20-s1" in " ".join(read(page).visible.split())
    assert Study(writer.path).best().cell == "moco-resnet18-weak-lr0.06-n20-s1"


def test_links_of_a_page_elsewhere_lead_into_the_study_too(make_study, tmp_path, monkeypatch):
    """As a browser resolves them, from a folder beside the study, one in it, and the one that is worked in."""
    small = {"sizes": ("20",), "methods": ("moco", "frozen"), "augmentations": ("weak",), "lrs": (0.06,)}
    study = make_study("leaves #1 (50 %) ü", **small).path
    for cell in (study / "cells").iterdir():
        for name in ("tsne.html", "backbone.safetensors"):
            (cell / name).touch()
    (tmp_path / "pages").mkdir()
    (study / "copies").mkdir()
    monkeypatch.chdir(tmp_path / "pages")
    places = (tmp_path / "pages" / "leaves.html", study / "copies" / "leaves.html", Path("leaves.html"))
    for place in places:
        written = write_report(study, to=place)
        links = [a["href"] for t, a in read(written).elements if t == "a" and "cells/" in a["href"]]
        files = [Path(unquote(urlsplit(urljoin(written.absolute().as_uri(), link)).path)) for link in links]
        assert {file.name for file in files} >= {"tsne.html", "backbone.safetensors"}
        assert [file for file in files if not file.exists()] == []
        assert {file.relative_to(study).parts[0] for file in files} == {"cells"}


def test_a_page_on_another_drive_names_the_study_in_full(make_study, tmp_path, monkeypatch):
    def on_two_drives(path, start):
        raise ValueError("path is on mount 'C:', start on mount 'D:'")

    study = make_study(sizes=("20",), methods=("frozen",)).path
    monkeypatch.setattr("os.path.relpath", on_two_drives)
    page = read(write_report(study, to=tmp_path / "page.html"))
    assert f"{study.as_uri()}/cells/frozen-resnet18-n20-s0/tsne.html" in page.addresses()


def test_hostile_class_and_file_names_stay_text(report):
    page = report(classes=HOSTILE, file_name="</script><i>{{x}}@{y}", sizes=("20",))
    for name in HOSTILE:
        assert " ".join(name.split()) in page.visible, name
    assert "49" not in {word.strip() for word in page.text}
    assert not page.handlers
    assert page.count("i") == 0
    assert not any("alert" in script for script in page.scripts if not script.startswith("{"))
    sources = [a["src"] for t, a in page.elements if t == "img"]
    assert all(source.startswith("data:image/") for source in sources)


def test_hostile_messages_and_commands_stay_text(make_study):
    writer = make_study(methods=("moco",), sizes=("20",), audit=(("a", "<script>x</script>", ""),))
    results = writer.path / "results.csv"
    results.write_text(results.read_text().replace("the loss was not finite", "<u>loss</u>"))
    page = read(write_report(writer.path, "selfsup run '<s>&amp;'"))
    assert "<script>x</script>" in page.visible
    assert "<u>loss</u>" in page.visible
    assert "selfsup run '<s>&amp;'" in page.visible
    assert page.count("u") == page.count("s") == 0


def test_images_that_have_nothing_to_tell_them_apart_are_the_first_thing_on_the_page(make_study):
    audit = (("*", "same pixels", "40 of 90 images have the same pixels"), ("*", "pages", "3 files with 9 in all"))
    visible = read(write_report(make_study(methods=("moco",), sizes=("20",), audit=audit).path)).visible
    assert 0 < visible.index("Look at the images first: 40 of 90 images") < visible.index("What it cost")
    assert "Look at the images first: 3 files" not in visible


def test_a_file_called_na_is_a_file(make_study):
    writer = make_study(methods=(), audit=(("NA", "ignored", "null"),))
    assert "NA ignored null" in read(write_report(writer.path)).visible


def test_a_running_study_says_how_far_it_is(make_study):
    writer = make_study(methods=("simclr", "moco"))
    (writer.path / "run.json").write_text('{"planned": 126}')
    visible = read(write_report(writer.path)).visible
    assert "10 classes · 36 of 126 cells so far, 12 diverged" in visible
    assert "on these images, so far" in visible


def test_a_study_whose_budget_is_over_says_how_much_of_the_grid_it_had_time_for(make_study):
    run = {"budget": "4m", "left_out": "byol", "command": "selfsup run"}
    writer = make_study(methods=("moco", "random"), sizes=("5",))
    (writer.path / "run.json").write_text(json.dumps({"planned": 60, "runs": [run]}))
    visible = read(write_report(writer.path)).visible
    assert "10 classes · 7 of 60 cells so far, within --budget 4m" in visible


def test_the_settings_beside_the_curves_are_those_of_the_answers_number_of_images(make_study):
    """Where a budget ends, networks without training alone may have come to the largest."""
    failed = {f"{name}-resnet18-weak-lr0.06-nall-s0": "failed" for name in ("moco", "byol")}
    writer = make_study(methods=("moco", "byol", "random"), augmentations=("weak",), lrs=(0.06,), status_of=failed)
    assert "Settings with 20 images per class method augmentation lr test 95 % interval moco weak 0.06" in (
        read(write_report(writer.path)).visible
    )


def test_one_cell_makes_a_report(report):
    page = report(methods=("moco",), augmentations=("weak",), lrs=(0.06,), sizes=("20",))
    assert "No other method has a finished cell to compare with" in page.visible
    assert "the trainings of the one cell" in page.visible


def test_one_method_at_the_largest_size_and_several_below_make_a_report(report):
    """As after Ctrl-C, or where a study was extended by one method: there is nothing to compare but below."""
    grid = {"methods": ("simclr", "moco"), "augmentations": ("weak",), "lrs": (0.01,), "sizes": ("5", "20")}
    page = report(**grid, status_of={"moco-resnet18-weak-lr0.01-n20-s0": "failed"})
    assert "Holm-corrected for this one comparison. Intervals" in page.visible


def test_no_cell_makes_a_report(make_study):
    writer = make_study(methods=())
    (writer.path / "run.json").write_text('{"planned": 10}')
    visible = read(write_report(writer.path)).visible
    assert "No cell has finished" in visible
    assert "0 of 10 cells so far" in visible


def test_only_failed_cells_make_a_report(make_study):
    ids = {f"moco-resnet18-weak-lr0.06-n{n}-s0": s for n, s in (("5", "failed"), ("20", "diverged"))}
    writer = make_study(methods=("moco",), augmentations=("weak",), lrs=(0.06,), sizes=("5", "20"), status_of=ids)
    visible = read(write_report(writer.path)).visible
    assert "No cell has finished well" in visible
    assert "out of memory" in visible


def test_only_baselines_make_a_report(report):
    page = report(methods=("frozen", "random"))
    assert "Use the frozen backbone, without training" in page.visible


def test_a_baseline_that_is_as_good_is_not_hidden(make_study):
    writer = make_study(methods=("moco", "frozen"), sizes=("20",))
    best = answer(writer.path).best.cells[0]
    source = writer.path / "cells" / best / "embeddings.npz"
    (writer.path / "cells" / "frozen-resnet18-n20-s0" / "embeddings.npz").write_bytes(source.read_bytes())
    visible = read(write_report(writer.path)).visible
    assert "No training is shown to beat the frozen backbone, which costs none" in visible
    assert "What was tried is moco with weak augmentation" in visible
    assert re.search(
        r"The frozen backbone, without any training here, reaches 0\.\d+; no difference was shown\.", visible
    )


def test_a_score_of_more_seeds_than_its_difference_is_told_from_it(make_study):
    """0.9 of one and 0.8 of the other may stand beside a difference of -0.1, where this is over fewer seeds."""
    writer = make_study(methods=("moco", "random"), augmentations=("weak",), lrs=(0.06,), sizes=("20",), seeds=2,
                        status_of={"moco-resnet18-weak-lr0.06-n20-s1": "failed"})  # fmt: skip
    cells = writer.path / "cells"
    perfect = (cells / "moco-resnet18-weak-lr0.06-n20-s0" / "embeddings.npz").read_bytes()
    (cells / "random-resnet18-n20-s0" / "embeddings.npz").write_bytes(perfect)
    visible = read(write_report(writer.path)).visible
    assert re.search(r"reaches 0\.\d+ \(2 seeds\); no difference was shown over the seed that both have\.", visible)
    assert re.search(r"random over the seed that both have \+0\.000", visible)
    assert re.search(r"20 moco random 1 \+0\.000", visible)
    assert "Exact McNemar test, paired over the test images; Holm-corrected" in visible


@pytest.mark.parametrize(
    ("settings", "groups", "given", "words"),
    [
        ({}, 150, False, "rest on 12 groups of test images: more groups of test images narrow them, and so does --re"),
        ({"test_images": 15, "classes": ("a", "b")}, None, False, "rest on 15 test images: more test images narrow"),
        ({"test_images": 15, "classes": ("a", "b")}, None, True, "rest on 15 test images: more test images narrow"),
        ({}, 30, False, ""),
    ],
)
def test_of_few_groups_or_images_the_page_says_once_that_they_make_intervals_wide(
    make_study, settings, groups, given, words
):
    writer = make_study(methods=("moco", "random"), augmentations=("weak",), lrs=(0.06,), sizes=("20",), **settings)
    copy = writer.path / "cells" / "moco-resnet18-weak-lr0.06-n20-s0" / "embeddings.npz"
    (writer.path / "cells" / "random-resnet18-n20-s0" / "embeddings.npz").write_bytes(copy.read_bytes())
    if groups:
        np.savez(writer.path / "split.npz", groups=np.arange(1797) // groups)
    described = json.loads((writer.path / "dataset.json").read_text())
    (writer.path / "dataset.json").write_text(json.dumps(described | {"test_given": given}))
    visible = read(write_report(writer.path)).visible
    assert words in visible
    assert visible.count("Intervals are wide") == bool(words)
    assert ("--resplit" in visible) == (bool(words) and not given)  # which is refused where the test is given


def test_the_first_screen_says_where_no_trained_network_was_compared(make_study):
    missing = "No network that somebody has trained was compared here"
    assert missing in read(write_report(make_study(methods=("moco", "frozen")).path)).visible
    for name, options in {
        "reference": {"methods": ("moco", "reference")},
        "trained on": {"methods": ("moco",), "backbones": ("resnet18@imagenet",)},
    }.items():
        assert missing not in read(write_report(make_study(name, **options).path)).visible


def test_where_training_helps_with_few_images_only_the_page_says_so(make_study):
    writer = make_study(methods=("moco", "frozen"), sizes=("5", "all"))
    source = writer.path / "cells" / answer(writer.path).best.cells[0] / "embeddings.npz"
    (writer.path / "cells" / "frozen-resnet18-nall-s0" / "embeddings.npz").write_bytes(source.read_bytes())
    visible = read(write_report(writer.path)).visible
    assert "With 5 images per class use moco ; with all images the frozen backbone may do as well" in visible
    assert "Training was shown to beat every network without it with 5 images per class (moco +" in visible


def test_a_number_of_images_that_no_class_has_is_not_quoted_as_if_it_had(make_study):
    writer = make_study(methods=("moco",), sizes=("20", "5000"))
    visible = read(write_report(writer.path)).visible
    assert re.search(r"With all images \(no class has more than 5000\), about 12\d per class, a linear probe", visible)
    assert "with all images (no class has more than 5000)" in headline(answer(writer.path))


def test_shares_of_classes_are_said_with_the_images_that_they_are(make_study):
    writer = make_study(methods=("moco", "random"), sizes=("all", "50%", "5%"))
    study = read_study(writer.path)
    # Of 126 training images per class 5 % are 6.3 and 50 % are 63; in all there are 1257.
    assert size_places(study) == {"5%": 6, "50%": 63, "all": 125.7}
    found = answer_study(study)
    assert found.sizes == ("5%", "50%", "all")
    visible = read(write_report(writer.path)).visible
    assert "5% (≈ 6) 50% (≈ 63) all (≈ 126)" in visible
    of_half = read(write_report(make_study("half", methods=("moco",), sizes=("50%",)).path)).visible
    assert "With 50% of each class’s images (about 63 per class), a linear probe" in of_half.replace("'", "’")


def test_an_unlabelled_study_makes_a_report(report):
    page = report(labelled=False, methods=("simclr", "moco", "frozen"), sizes=("all",))
    assert "A weak recommendation, without labels" in page.visible
    assert "effective rank" in page.visible
    assert "What the clusters hold" in page.visible
    assert "test accuracy of" not in page.visible


@pytest.mark.parametrize(
    ("grouped", "over", "paired"),
    [
        (True, "one seed, over 60 groups of test images)", "Paired over the groups of test images;"),
        (False, "one seed, over 60 test images, copies counted once)", "over the test images, copies counted once;"),
    ],
)
def test_copies_that_count_once_are_not_called_groups(make_study, grouped, over, paired):
    writer = make_study(methods=("moco", "random"), augmentations=("weak",), lrs=(0.06,), sizes=("20",))
    np.savez(writer.path / "split.npz", groups=np.arange(1797) // 30)
    path = writer.path / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"grouped": grouped}))
    visible = read(write_report(writer.path)).visible
    assert over in visible
    assert paired in visible


def test_several_seeds_are_averaged(make_study):
    writer = make_study(seeds=3, methods=("moco", "supervised"), sizes=("5", "20"))
    visible = read(write_report(writer.path)).visible
    assert "over 3 seeds and 360 test images" in visible
    assert "±." in visible
    assert "Paired over the test images and the seeds" in visible


def test_the_label_efficiency_protocol_counts_labels(make_study):
    writer = make_study(methods=("moco",), sizes=("5", "20"))
    (writer.path / "config.toml").write_text('format = 2\nprotocol = "label-efficiency"\n')
    visible = read(write_report(writer.path)).visible
    assert "With 20 labels per class" in visible
    assert "images per class" not in visible


def test_without_a_store_the_report_does_without_thumbnails_and_says_so(make_study):
    page = read(write_report(make_study(sizes=("20",)).path))
    assert "No thumbnails: the decoded images are gone" in page.visible
    assert "Mistakes it was surest of" not in page.visible
    assert "Map of the embeddings" in page.visible


def test_the_store_gives_the_thumbnails_that_the_study_lacks(make_study, monkeypatch):
    writer = make_study(sizes=("20",))
    monkeypatch.setattr("selfsup.data.store.open_store", lambda path: writer.store)
    page = read(write_report(writer.path))
    assert "No thumbnails" not in page.visible
    assert "Mistakes it was surest of" in page.visible
    assert (writer.path / "assets" / "thumbnails.webp").is_file()


def test_thumbnails_that_are_made_anew_show_the_channels_that_the_study_shows(make_study, monkeypatch):
    writer, shown = make_study(methods=("moco",), sizes=("20",), augmentations=("weak",), lrs=(0.06,)), []
    (writer.path / "config.toml").write_text('format = 2\ndata = "digits"\nshow_channels = [4, 3, 2]\n')
    picture = writer.store.picture
    monkeypatch.setattr(writer.store, "picture", lambda index, channels: shown.append(channels) or picture(index))
    monkeypatch.setattr("selfsup.data.store.open_store", lambda path: writer.store)
    write_report(writer.path)
    assert shown
    assert all(channels == [4, 3, 2] for channels in shown)


def test_a_report_of_5000_images_is_below_15_mb(make_study):
    writer = make_study(methods=("moco",), sizes=("20",), augmentations=("weak",), test_images=1700)
    rng, n = np.random.default_rng(0), 5000
    # Noise is what compresses worst.
    writer.store._images = rng.integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)
    writer.store.names = tuple(f"a/rather/long/path/to/an/image/number/{i:05d}.png" for i in range(n))
    for path in writer.path.glob("cells/*/embeddings.npz"):
        with np.load(path) as arrays:
            rows = np.arange(n) % len(arrays["labels"])
            content = {name: array[rows] for name, array in arrays.items()}
        np.savez(path, **content | {"indices": np.arange(n)})
    write_assets(writer.path, writer.store, range(n))
    assert write_report(writer.path).stat().st_size < 15e6


def test_every_picture_is_described(page):
    drawn = [a for t, a in page.elements if t == "img" and a.get("class", "").startswith(("light", "dark"))]
    assert drawn
    assert all(len(a["alt"]) > 20 for a in drawn)


def test_every_table_and_region_can_be_reached_and_named(page):
    regions = [a for _, a in page.elements if a.get("role") == "region"]
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in regions)
    levels = [tag for tag, _ in page.elements if tag in ("h1", "h2", "h3")]
    assert levels.count("h1") == 1
    ids = {a["id"] for _, a in page.elements if "id" in a}
    assert all(a["href"][1:] in ids for t, a in page.elements if t == "a" and a["href"].startswith("#"))


def test_ids_are_unique(page):
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_the_report_is_replaced_in_one_step(make_study):
    writer = make_study(methods=("moco",), sizes=("20",))
    first = write_report(writer.path)
    inode = first.stat().st_ino
    assert write_report(writer.path).stat().st_ino != inode
    assert not list(writer.path.glob("*.partial")) + list(writer.path.glob(".*.partial"))


def test_a_folder_that_is_no_study_gets_no_report(tmp_path):
    with pytest.raises(UserError, match="no study in"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("methods", "said"), [(("moco", "byol"), False), (("moco", "random"), True)])
def test_baselines_are_explained_where_there_are_any(make_study, methods, said):
    writer = make_study(methods=methods, augmentations=("weak",), lrs=(0.06,))
    assert ("Baselines are dashed." in read(write_report(writer.path)).visible) == said


@pytest.mark.parametrize(
    ("augmentations", "lrs", "chosen"),
    [
        (("weak",), (0.06,), ""),
        (("weak",), (0.01, 0.06), "learning rate"),
        (("weak", "simclr"), (0.06,), "augmentation"),
        (("weak", "simclr"), (0.01, 0.06), "augmentation and learning rate"),
    ],
)
def test_the_page_speaks_of_choices_where_there_were_some(make_study, augmentations, lrs, chosen):
    writer = make_study(methods=("moco", "random"), sizes=("5", "20"), augmentations=augmentations, lrs=lrs)
    page = read(write_report(writer.path))
    text = page.visible
    named = f"Each method with the {chosen} that did best on the validation images."
    assert ("did best on the validation images" in text) == (named in text) == bool(chosen)
    assert (f"{'Chosen settings' if chosen else 'Settings'} with 20 images per class") in text
    assert (f"How the {'chosen ' * bool(chosen)}cells trained") in text
    assert (f"{'Settings are' if chosen else 'The method to use is'} chosen by the validation accuracy") in text
    rates = "learning rate" in chosen
    assert ("learning rates are chosen on validation" in text) == rates
    assert ("learning rate chosen on validation, of this augmentation" in text) == rates
    assert any(attributes.get("class") == "chosen" for tag, attributes in page.elements if tag == "td") == rates


def test_the_page_says_by_which_metric_and_how_close_within_the_margin(make_study):
    writer = make_study(methods=("moco", "byol", "random"), sizes=("5", "20"))
    write_assets(writer.path, writer.store, writer.indices)
    visible = read(write_report(writer.path, asked={"metric": "macro-f1", "margin": 0.05})).visible
    for words in (
        "on these images, by macro F1",
        "a linear probe on its embeddings reaches a test macro F1 of",
        "Macro F1 and images per class",
        "Test macro F1 by images per class",
        "In small figures: accuracy.",
        "Test macro F1 of every cell; learning rates are chosen on validation macro F1.",
        "1 test macro F1",
        "Settings are chosen by the validation macro F1 of a linear probe",
        "within 5 points",
    ):
        assert words in visible, words
    assert "not shown p = " in visible
    plain = read(write_report(writer.path)).visible
    assert "macro F1" not in plain
    assert "within" not in plain.replace("within a training batch", "")


def test_balanced_accuracy_stands_beneath_accuracy_where_classes_are_very_unequal(make_study):
    unequal = {"classes": ("a", "b", "c"), "class_of": (0, 0, 0, 0, 0, 0, 0, 1, 1, 2)}
    writer = make_study(methods=("moco", "random"), sizes=("20",), **unequal)
    visible = read(write_report(writer.path)).visible
    best = answer(writer.path).best
    assert f"and balanced accuracy of {best.beside:.3f}." in visible
    assert "In small figures: balanced accuracy, in which every class counts the same." in visible


def test_the_recall_of_each_class_is_listed_the_lowest_first(page, full):
    cell = answer(full.path).best.cells[0]
    with np.load(full.path / "cells" / cell / "embeddings.npz") as arrays:
        labels, predicted = arrays["labels"], arrays["predicted"]
    recall = {name: (predicted[labels == i] == i).mean() for i, name in enumerate(full.classes)}
    lowest = min(recall, key=recall.get)
    assert f"class recall test images {lowest} {recall[lowest]:.3f}" in page.visible


@pytest.mark.parametrize(
    ("supervised", "words"),
    [
        ("0.1", "supervised training did not reach that with any number tried."),
        ("0.9", "supervised training needs 5 per class , the fewest tried."),
    ],
)
def test_what_supervised_training_needs_is_said_in_a_sentence(make_study, supervised, words):
    writer = make_study(methods=("moco", "supervised"), augmentations=("weak",), lrs=(0.06,), sizes=("5", "all"))
    head, *rows = [line.split(",") for line in (writer.path / "results.csv").read_text().splitlines()]
    for row in rows:
        row[head.index("test_accuracy")] = {"moco": "0.5", "supervised": supervised}.get(row[1], "0.2")
    (writer.path / "results.csv").write_text("\n".join(map(",".join, [head, *rows])))
    visible = read(write_report(writer.path)).visible
    assert f"moco reaches 0.500 with 5 images per class; {words}" in visible
    assert f"moco reaches 0.500 with all images; {words}" in visible


def test_what_supervised_training_needs_rests_on_a_test_or_is_said_to_rest_on_scores_alone(make_study):
    """The two differ with 5 images per class, and name the same test images rightly with all."""
    writer = make_study(methods=("moco", "supervised"), augmentations=("weak",), lrs=(0.06,), sizes=("5", "all"))
    moco, supervised = (
        writer.path / "cells" / f"{method}-resnet18-weak-lr0.06-nall-s0" / "embeddings.npz"
        for method in ("moco", "supervised")
    )
    moco.write_bytes(supervised.read_bytes())
    few, many = answer(writer.path).labels_needed
    assert (few.shown, many.shown) == (True, False)
    visible = read(write_report(writer.path)).visible
    alone = "by the scores alone: no difference was shown with"
    assert re.search(rf"with all images; supervised training needs all ?, {alone} all images\.", visible)
    assert f"{alone} 5" not in visible


def test_a_page_of_one_method_says_that_nothing_was_compared(make_study):
    visible = read(write_report(make_study(methods=("moco",), lrs=(0.06,), sizes=("20",)).path)).visible
    assert "Nothing was compared with moco" in visible
    assert "No other method has finished with so many images, so whether that is good is not known." in visible
    assert "Best self-supervised method" not in visible


def test_the_page_of_very_many_classes_holds_the_most_confused_ones_and_not_the_matrix(tmp_path):
    def page(classes: int) -> PageReader:
        names = tuple(f"kind {number:03d}" for number in range(classes))
        writer = FolderWriter(
            tmp_path / str(classes), methods=("moco",), augmentations=("weak",), sizes=("20",), classes=names
        )
        writer.labels = np.arange(writer.test_images) % classes
        writer.write()
        return read(write_report(writer.path))

    def cells(page: PageReader) -> int:
        return sum(tag == "td" for tag, _ in page.elements)

    many = page(300)
    assert "Only the 20 classes of 300 with the most confusions" in many.visible
    assert "Most frequent confusions" in many.visible
    squares = [dict(attributes) for tag, attributes in many.elements if tag == "td" and "--share" in str(attributes)]
    assert len(squares) == 20 * 20
    assert cells(page(20)) > 20 * 20  # every square can be pointed at
    assert cells(many) < 1_000
