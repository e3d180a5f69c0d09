"""Images with several labels each, from the manifest to the report: against scikit-learn, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from tests.page_reader import PageReader
from tests.undrawn import undrawn

import selfsup
from selfsup.cli.answer_text import show_answer
from selfsup.config.validation import validate
from selfsup.errors import UserError
from selfsup.execution.estimate import plan_study
from selfsup.execution.preparation import prepare_images
from selfsup.inference import embed_images, find_cell, predict_images
from selfsup.record.folder import StudyFolder
from selfsup.report.recorded import asked_for, read_study
from selfsup.report.verdict import answer_study
from selfsup.study import Study

LABELS = ("blue", "green", "red")
TINY: dict[str, Any] = {
    "backbones": "test_resnet@none",
    "references": "none",
    "image_size": 16,
    "threads": 1,
    "lrs": "0.05",
    "augmentations": "weak",
    "epochs": 1,
    "per_class": "all",
}


def save_lights(folder: Path, count: int = 60) -> Path:
    """Images in which some of three lights are on, and their table; one in ten has no label."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    rows = ["path,label"]
    for number in range(count):
        on = rng.random(3) < [0.3, 0.6, 0.6]
        on[rng.integers(1, 3)] |= not on.any()
        pixels = rng.integers(0, 60, (16, 16, 3)) + rng.integers(0, 100, 3) + 80 * on[::-1]
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:02d}.png")
        label = ";".join(name for name, lit in zip(LABELS, on, strict=True) if lit)
        rows.append(f"{number:02d}.png,{label if number % 10 else ''}")
    table = folder.with_suffix(".csv")
    table.write_text("\n".join(rows) + "\n")
    return table


@pytest.fixture(scope="module")
def lights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of images with several labels; they lie in the folder of its name."""
    return save_lights(tmp_path_factory.mktemp("data") / "lights")


@pytest.fixture(scope="module")
def study(lights: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    out = tmp_path_factory.mktemp("lights") / "study"
    with undrawn():
        return selfsup.compare(
            lights.with_suffix(""), manifest=str(lights), methods="simclr,supervised,random", out=out,
            executor="inline", **TINY
        )  # fmt: skip


def test_scores_are_scikit_learns_and_those_of_accuracy_are_missing(study: Study) -> None:
    results = study.results.set_index("cell")
    assert (results.status == "done").all() and set(results.method) == {"simclr", "supervised", "random"}
    for cell, row in results.iterrows():
        with np.load(study.path / "cells" / str(cell) / "embeddings.npz") as kept:
            true, probabilities = kept["labels"], kept["confidence"]
        assert row.test_map == pytest.approx(average_precision_score(true, probabilities))
        assert row.auroc == pytest.approx(roc_auc_score(true, probabilities))
        assert row.test_macro_f1 == pytest.approx(f1_score(true, probabilities >= 0.5, average="macro"))
        report = pd.read_csv(study.path / "cells" / str(cell) / "classification_report.csv", index_col="label")
        areas = [roc_auc_score(true[:, number], probabilities[:, number]) for number in range(3)]
        assert report.loc[list(LABELS), "auroc"].tolist() == pytest.approx(areas, abs=1e-6)
        assert not (study.path / "cells" / str(cell) / "confusion.csv").exists()
    accuracies = [name for name in results.columns if "accuracy" in name]
    assert results[[*accuracies, "ece", "temperature"]].isna().all(axis=None)
    assert results[["val_map", "val_macro_f1", "val_auroc"]].notna().all(axis=None)


def test_settings_are_chosen_and_methods_compared_by_map(study: Study) -> None:
    assert study.config.metric == "map"
    found = answer_study(read_study(study.path))
    assert (found.metric.words, found.beside) == ("mAP", None)
    of_methods = study.results.set_index("method")
    for choice in found.choices:
        assert (choice.score, choice.test_score) == (
            of_methods.val_map[choice.method],
            of_methods.test_map[choice.method],
        )
        assert choice.interval is not None and choice.interval.low < choice.test_score <= choice.interval.high
    (against,) = [pair.test for pair in found.comparisons if pair.other.method == "random"]
    assert against.difference == pytest.approx(of_methods.test_map["simclr"] - of_methods.test_map["random"], abs=5e-3)
    by_f1 = answer_study(read_study(study.path, asked_for(metric="macro-f1")))
    assert by_f1.criterion == "val_macro_f1"


def test_the_page_has_each_label_and_no_confusions(study: Study) -> None:
    page = study.report().read_text()
    assert "54 of them with a label, 3 labels, several of an image" in page
    assert "Each label against the rest, the lowest average precision (AP) first" in page
    assert "test mAP" in page and "Confusion matrix" not in page and "surest of" not in page
    assert "coloured by set of labels" in page
    assert "Paired over the test images, as a sample of more; " in page and "McNemar" not in page
    with pytest.raises(UserError, match="--metric accuracy is for images that have one label each"):
        study.report(metric="accuracy")


def test_what_is_counted_is_per_label_and_not_per_class(
    study: Study, lights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    visible = PageReader(study.report().read_text()).visible
    assert "Test mAP by labelled images per label" in visible and "mAP and labelled images per label" in visible
    assert "Images of each label" in visible
    data = {"data": str(lights.with_suffix("")), "manifest": str(lights)}
    made = plan_study({**TINY, **data, "methods": "simclr,random", "per_class": "5,500", "budget": "1h"})
    assert any(notice.startswith("No label has more than ") for notice in made.grid.notices)
    assert made.budget is not None
    assert made.budget.sentences[0].split("; ")[-2:] == ["5 and 500 per label", "1 epoch."]
    show_answer(study, as_json=False)
    printed = capsys.readouterr().out
    assert "per label" in printed
    assert "per class" not in visible + " ".join(e.detail for e in made.audit) + printed


def test_new_images_get_a_probability_for_each_label_and_those_that_are_more_probable_than_not(
    study: Study, lights: Path
) -> None:
    found, cell = find_cell(study.path)
    table = predict_images(found, cell, lights.with_suffix(""))
    assert table.columns.tolist() == ["path", "labels", *(f"probability of {name}" for name in LABELS)]
    for row in table.to_dict("records"):
        named = [name for name in LABELS if row[f"probability of {name}"] >= 0.5]
        assert row["labels"] == ";".join(named)
    with np.load(study.path / "cells" / cell.cell / "embeddings.npz") as kept:
        recorded = kept["confidence"][0]
        name = (study.path / "images.csv").read_text().splitlines()[1 + kept["indices"][0]].split(",")[0].strip('"')
    (again,) = table[table.path == name].iloc[:, 2:].to_numpy()
    np.testing.assert_allclose(again, recorded, atol=1e-3)
    assert embed_images(found, cell, lights.with_suffix("")).features.shape[0] == 60


def test_what_the_labels_are_is_said_in_a_line_and_the_split_has_each_on_every_side(
    lights: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    folder = StudyFolder(tmp_path / "study")
    folder.create()
    config = validate({"data": str(lights.with_suffix("")), "manifest": str(lights), "image_size": 16})
    prepare_images(folder, config, said.append)
    assert (
        "Labels: 3 per image at most (`;` in label), 3 labels; each is told from the rest by itself, methods are "
        "compared by mAP, and columns of accuracy stay empty; an empty label is unknown, so images that show none of "
        "them need a label of their own."
    ) in said
    dataset = json.loads((folder.path / "dataset.json").read_text())
    assert dataset["pool"] == 6 and dataset["with_label"] == 54
    assert all(min(counts) > 0 for counts in dataset["class_counts"].values())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"metric": "balanced-accuracy"}, "--metric balanced-accuracy is for images that have one label each, and "
         "these may have several; take map, macro-f1 or auroc."),
        ({"evaluate": "finetune,layers"}, "--evaluate finetune,layers is for images that have one label each, and "
         "those of '{data}' may have several; leave it out."),
        ({"test_data": "digits"}, "--test-data has one label for each image, and those of '{data}' may have several; "
         "leave it out."),
        ({"methods": "supcon"}, "--methods supcon needs one label for each image, and those of '{data}' may have "
         "several; choose supervised, or self-supervised methods."),
    ],
)  # fmt: skip
def test_what_needs_one_label_for_each_image_is_refused(lights: Path, options: dict[str, str], sentence: str) -> None:
    data = str(lights.with_suffix(""))
    with pytest.raises(UserError) as refused:
        plan_study({**TINY, "data": data, "manifest": str(lights), "methods": "random", **options})
    assert str(refused.value) == sentence.format(data=data)


def test_of_several_methods_one_that_needs_one_label_for_each_image_is_left_out_and_that_is_said(lights: Path) -> None:
    data = str(lights.with_suffix(""))
    plan = plan_study({**TINY, "data": data, "manifest": str(lights), "methods": "random,supcon"})
    assert {cell.method for cell in plan.grid.cells} == {"random"}
    assert "Left out, for it needs one label for each image: supcon." in plan.grid.notices


def test_a_label_that_only_a_held_out_side_has_is_refused(lights: Path, tmp_path: Path) -> None:
    rows = lights.read_text().splitlines()
    sides = ["split", *("test" if number % 5 == 1 else "train" for number in range(60))]
    table = tmp_path / "split.csv"
    table.write_text("\n".join(f"{row},{side}" for row, side in zip(rows, sides, strict=True)).replace(
        "\n01.png,", "\n01.png,yeti;"
    ))  # fmt: skip
    where = r"Line 3 of '.*split\.csv' has the label 'yeti', which is given for validation or the test, and no image of"
    with pytest.raises(UserError, match=where):
        plan_study({**TINY, "data": str(lights.with_suffix("")), "manifest": str(table), "methods": "random"})
