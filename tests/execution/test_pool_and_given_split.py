"""Images without a label, and sides that are given: what a study does with them, and says."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import selfsup
from selfsup.config.validation import validate
from selfsup.data.items import UNKNOWN
from selfsup.data.store import Store
from selfsup.errors import UserError
from selfsup.execution.estimate import plan_study
from selfsup.execution.jobs.context import StudyContext
from selfsup.execution.preparation import prepare_images
from selfsup.execution.request import requested_run
from selfsup.record.folder import StudyFolder
from selfsup.training.device import choose_hardware

TINY = {"methods": "random", "backbones": "test_resnet@none", "references": "none", "image_size": 16, "threads": 1}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFSUP_CACHE", str(tmp_path / "cache"))


def save(folder: Path, count: int, seed: int) -> None:
    """So many images that are unlike any other."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(folder / f"{number:02d}.png")


def few_labels(root: Path) -> Path:
    """Ten images of each of two classes and ten without a label, five of which are copies of labelled ones."""
    for seed, name in enumerate(("bean", "pea", "unlabelled")):
        save(root / name, 10, seed)
    for number in range(5):
        shutil.copy(root / f"bean/{number:02d}.png", root / f"unlabelled/copy{number}.png")
    return root


def begin(data: Path, out: Path, **options: object) -> tuple[StudyContext, Store, list[str]]:
    """A study whose images are prepared, and what was said of them."""
    said: list[str] = []
    folder, config = StudyFolder(out), validate({"data": str(data), **options})
    folder.create()
    store = prepare_images(folder, config, said.append)
    folder.write_config(config)
    return StudyContext(folder, choose_hardware("cpu", "fp32")), store, said


def sides(study: StudyContext, store: Store) -> dict[str, str]:
    parts = {"train": study.split(0).train, "val": study.split(0).val, "test": study.split(0).test}
    return {store.names[index]: side for side, part in parts.items() for index in part.tolist()}


def test_the_pool_is_for_training_alone_and_its_copies_of_held_out_images_are_left_out(tmp_path: Path) -> None:
    study, store, said = begin(few_labels(tmp_path / "data"), tmp_path / "study")
    side_of = sides(study, store)
    held_out = {name for name, side in side_of.items() if side != "train"}
    assert not any(name.startswith("unlabelled/") for name in held_out)
    left_out = {f"unlabelled/copy{n}.png" for n in range(5) if f"bean/{n:02d}.png" in held_out}
    assert left_out  # else this test shows nothing
    assert set(store.names) - set(side_of) == left_out
    audit = pd.read_csv(study.folder.path / "audit.csv")
    assert set(audit[audit.problem == "left out"].path) == left_out
    assert f"Images that training may not see, left out: {len(left_out)} (" in " ".join(said)
    assert any("Images without a label: 15 of 35; methods without labels train on them too" in line for line in said)
    assert study.folder.read_json("dataset.json")["pool"] == 15 - len(left_out)
    with np.load(study.folder.path / "split.npz") as arrays:  # no two of the images with a label are copies
        assert "groups" not in arrays


def test_a_pool_from_elsewhere_is_the_same(tmp_path: Path) -> None:
    data = few_labels(tmp_path / "data")
    within, store, _ = begin(data, tmp_path / "within")
    (data / "unlabelled").rename(tmp_path / "elsewhere")
    study, pooled, _ = begin(data, tmp_path / "study", pool=str(tmp_path / "elsewhere"))
    assert pooled.names == tuple(name.replace("unlabelled/", "pool:") for name in store.names)
    assert sides(study, pooled) == {
        name.replace("unlabelled/", "pool:"): side for name, side in sides(within, store).items()
    }
    with pytest.raises(UserError, match=r"There is no folder 'nowhere'; check the path given to --pool\."):
        begin(data, tmp_path / "other", pool="nowhere")


def test_where_there_is_a_pool_training_sees_it_and_probes_do_not(tmp_path: Path) -> None:
    data = few_labels(tmp_path / "data")
    simclr = {**TINY, "methods": "simclr", "lrs": "0.1", "augmentations": "weak", "epochs": 1, "knn_every": 1}
    study = selfsup.compare(data, out=tmp_path / "study", executor="inline", per_class="all", **simclr)
    assert study.config.protocol == "label-efficiency"
    assert study.results.train_images.tolist() == [14]  # of 10 per class, 7 are for training
    opened = StudyContext(study.folder, choose_hardware("cpu", "fp32"))
    assert (opened.store.labels[opened.split(0).train] == UNKNOWN).sum() > 10
    log = pd.read_csv(study.path / "cells" / study.results.cell[0] / "training_log.csv")
    assert log.knn_accuracy.between(0, 1).all()  # of neighbours with a label
    report = (study.path / "report.html").read_text()
    assert "35 images, 20 of them with a label, 2 classes" in report
    assert "14 training, 2 validation and 4 test images with a label, and " in report
    assert f"Methods without labels trained on all {len(opened.split(0).train)} that are not held out" in report


def test_under_data_regime_the_pool_is_not_used_and_that_is_said(tmp_path: Path) -> None:
    _, _, said = begin(few_labels(tmp_path / "data"), tmp_path / "study", protocol="data-regime")
    assert any("15 of 35, not used under --protocol data-regime; label-efficiency would" in line for line in said)


def test_folders_of_a_split_are_kept_and_copies_across_are_counted(tmp_path: Path) -> None:
    for seed, place in enumerate(("train/bean", "train/pea", "test/bean", "test/pea")):
        save(tmp_path / "data" / place, 10, seed)
    for number in range(3):
        shutil.copy(tmp_path / f"data/train/bean/{number:02d}.png", tmp_path / f"data/test/bean/copy{number}.png")
    study, store, said = begin(tmp_path / "data", tmp_path / "study")
    side_of = sides(study, store)
    assert {name for name, side in side_of.items() if side == "test"} == {n for n in store.names if n[:4] == "test"}
    assert sum(side == "val" for side in side_of.values()) == 2
    copied = sum(side_of[f"train/bean/{number:02d}.png"] == "train" for number in range(3))
    (line,) = (line for line in said if line.startswith("The split is given: "))
    assert "20 images for train, 23 images for test; val is drawn from those for train" in line
    assert f"; {copied} of 23 test images have a copy in train, and stay" in line
    audit = pd.read_csv(study.folder.path / "audit.csv")
    assert (audit.problem == "duplicate across split").sum() == 3
    assert study.folder.read_json("dataset.json")["test_given"]

    planned = plan_study({"data": str(tmp_path / "data"), **TINY})
    (entry,) = (entry for entry in planned.audit if "20 images for train" in entry.detail)
    assert entry.problem == "given split"


def test_open_copies_of_given_test_images_are_left_out_and_listed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    rows = ["path,label,split"]
    for seed, name in enumerate(("bean", "pea")):
        save(data / name, 15, seed)
        shutil.copy(data / name / "00.png", data / name / "copy.png")
        rows += [f"{name}/{path.name},{name},{'test' * (path.name < '05')}" for path in (data / name).iterdir()]
    (data / "images.csv").write_text("\n".join(rows))
    study, store, said = begin(data, tmp_path / "study", manifest=str(data / "images.csv"))
    assert set(store.names) - set(sides(study, store)) == {"bean/copy.png", "pea/copy.png"}
    (line,) = (line for line in said if line.startswith("Images that training may not see, left out: 2 ("))
    assert "bean/copy.png: is a copy of 'bean/00.png', which is held out" in line


def test_one_folder_around_all_others_is_stepped_into_and_named(tmp_path: Path) -> None:
    for seed, name in enumerate(("bean", "pea")):
        save(tmp_path / "data/photos" / name, 4, seed)
    _, store, said = begin(tmp_path / "data", tmp_path / "study")
    assert store.classes == ("bean", "pea") and store.names[0] == "photos/bean/00.png"
    hint = "One folder is around all others: 'photos', whose folders say what is known of the images"
    assert any(line.startswith(hint) for line in said)
    _, store, said = begin(tmp_path / "data", tmp_path / "unlabelled", unlabelled=True)  # then nothing is missing
    assert not store.classes and not any(hint in line for line in said)


def test_without_the_given_split_its_folders_are_classes(tmp_path: Path) -> None:
    for seed, place in enumerate(("train/bean", "train/pea", "test/bean", "test/pea")):
        save(tmp_path / "data" / place, 10, seed)
    study, store, said = begin(tmp_path / "data", tmp_path / "study", no_given_split=True)
    assert store.classes == ("test", "train")
    assert (len(study.split(0).val), len(study.split(0).test)) == (4, 8)
    assert not any("split is given" in line for line in said)
    assert not study.folder.read_json("dataset.json")["test_given"]


def manifest_of(root: Path, *, split: str = "", label: str = "pea") -> Path:
    """A table of forty images of two classes: ten are given for `split`, one has the class `label`."""
    save(root / "all", 40, 7)
    rows = [f"all/{n:02d}.png,{'bean' if n % 2 else 'pea'},{split if n < 10 else ''}" for n in range(40)]
    rows[0] = f"all/00.png,{label},{split}"
    (root / "images.csv").write_text("\n".join(["path,label,split", *rows]))
    return root / "images.csv"


def test_a_manifest_alone_names_images_beside_it(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "data", split="test")
    values, _ = requested_run(None, preset="quick", config=None, options={"manifest": str(manifest)})
    assert values["data"] == str(tmp_path / "data")
    study, store, _ = begin(values["data"], tmp_path / "study", manifest=str(manifest))
    assert {n for n, side in sides(study, store).items() if side == "test"} == {f"all/{n:02d}.png" for n in range(10)}


def test_a_class_that_is_given_for_the_test_alone_is_refused(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "data", split="test", label="rye")
    for refused in (
        lambda values: begin(tmp_path / "data", tmp_path / "study", manifest=str(manifest)),
        lambda values: plan_study(values),
    ):
        with pytest.raises(UserError, match=r"Line 2 of .* has the label 'rye', .* and no image of it for training"):
            refused({"data": str(tmp_path / "data"), "manifest": str(manifest), **TINY})


def test_a_study_does_not_go_on_with_other_sides(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "data", split="test")
    study, _, _ = begin(tmp_path / "data", tmp_path / "study", manifest=str(manifest))
    prepare_images(study.folder, study.folder.read_config(), lambda line: None)
    before = study.folder.path.joinpath("split.npz").read_bytes()
    manifest.write_text(manifest.read_text().replace("all/09.png,bean,test", "all/09.png,bean,"))
    with pytest.raises(UserError, match=r"are not divided as when '.*study' was begun: their groups or given sides"):
        prepare_images(study.folder, study.folder.read_config(), lambda line: None)
    assert study.folder.path.joinpath("split.npz").read_bytes() == before
