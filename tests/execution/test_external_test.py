"""Images from elsewhere: refused where they are of other classes, decoded as the study's own, tested by its probes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import selfsup
from selfsup.config.schema import StudyConfig
from selfsup.config.validation import validate
from selfsup.data.store import open_store
from selfsup.errors import UserError
from selfsup.execution.external_test import labels_in, prepare_external
from selfsup.execution.preparation import prepare_images
from selfsup.inference import predict_images
from selfsup.record.folder import StudyFolder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFSUP_CACHE", str(tmp_path / "cache"))


def save_images(root: Path, classes: str, *, darkest: int = 0, brightest: int = 4095, seed: int = 0) -> Path:
    """A folder of five 12-bit images in each class."""
    rng = np.random.default_rng(seed)
    for label in classes.split():
        (root / label).mkdir(parents=True)
        for number in range(5):
            pixels = rng.integers(darkest, brightest, (12, 12), np.uint16)
            Image.fromarray(pixels).save(root / label / f"{number}.tif")
    return root


def config_of(data: Path, test_data: Path, **options: object) -> StudyConfig:
    return validate({"data": str(data), "test_data": str(test_data), **options})


def refusal(tmp_path: Path, test_data: Path, **options: object) -> str:
    data = save_images(tmp_path / "data", "bean pea")
    with pytest.raises(UserError) as caught:
        prepare_images(StudyFolder(tmp_path / "study"), config_of(data, test_data, **options), print)
    return str(caught.value)


def test_other_classes_than_the_studys_are_refused(tmp_path: Path) -> None:
    text = refusal(tmp_path, save_images(tmp_path / "other", "bean oat rye"))
    assert "has 2 classes that" in text
    assert "(such as 'oat'); give images of the study's classes" in text


def test_images_without_labels_test_nothing(tmp_path: Path) -> None:
    shutil.copytree(save_images(tmp_path / "other", "bean") / "bean", tmp_path / "bare")
    assert "have no labels; put them in folders by class, two or more" in refusal(tmp_path, tmp_path / "bare")


def test_a_study_without_labels_has_no_external_test(tmp_path: Path) -> None:
    other = save_images(tmp_path / "other", "bean")
    assert "--test-data needs labels" in refusal(tmp_path, other, unlabelled=True)


def test_some_of_the_classes_are_enough_and_said_and_labels_are_those_of_the_study(tmp_path: Path) -> None:
    config = config_of(
        save_images(tmp_path / "data", "bean pea rye"), save_images(tmp_path / "other", "rye pea", seed=1)
    )
    folder, said = StudyFolder(tmp_path / "study"), list[str]()
    folder.create()
    prepare_images(folder, config, said.append)
    [line] = [line for line in said if line.startswith("External test: 10 images")]
    assert "of 2 of the 3 classes (not 'bean')" in line
    about = folder.read_json("dataset.json")["external"]
    assert about["class_counts"] == {"bean": 0, "pea": 5, "rye": 5}
    external = open_store(about["store"])
    classes = ("bean", "pea", "rye")
    assert [classes[label] for label in labels_in(classes, external)] == [name.split("/")[0] for name in external.names]


def test_another_camera_is_seen_on_the_scale_of_the_study(tmp_path: Path) -> None:
    config = config_of(
        save_images(tmp_path / "data", "bean pea"), save_images(tmp_path / "dark", "bean pea", brightest=1000)
    )
    folder = StudyFolder(tmp_path / "study")
    folder.create()
    store = prepare_images(folder, config, lambda line: None)
    external = open_store(folder.read_json("dataset.json")["external"]["store"])
    assert external.rendering == store.rendering
    assert store.image(0).max() > 250
    assert 50 < external.image(0).max() < 70  # 1000 of 4095, and not stretched


def test_copies_of_the_studys_images_are_listed_and_said(tmp_path: Path) -> None:
    data, other = save_images(tmp_path / "data", "bean pea"), save_images(tmp_path / "other", "bean pea", seed=1)
    shutil.copy(data / "pea/3.tif", other / "pea/again.tif")
    folder, said = StudyFolder(tmp_path / "study"), list[str]()
    folder.create()
    prepare_images(folder, config_of(data, other), said.append)
    listed = pd.read_csv(folder.path / "audit.csv").query("problem == 'copy in the external test'")
    assert listed[["path", "detail"]].to_numpy().tolist() == [["pea/again.tif", "is a copy of 'pea/3.tif'"]]
    assert any("copies of the study's own: 1 (pea/again.tif" in line for line in said)


def test_a_study_goes_on_with_the_external_test_that_it_was_begun_with_wherever_it_lies(tmp_path: Path) -> None:
    data, other = save_images(tmp_path / "data", "bean pea"), save_images(tmp_path / "other", "bean pea", seed=1)
    folder = StudyFolder(tmp_path / "study")
    folder.create()
    config = config_of(data, other)
    store = prepare_images(folder, config, lambda line: None)
    folder.write_config(config)
    moved = other.rename(tmp_path / "elsewhere")
    prepare_external(folder, config_of(data, moved), store, lambda line: None)
    (moved / "pea/4.tif").unlink()
    with pytest.raises(UserError, match=r"not those with which .* was begun: 1 missing or unreadable \('pea/4.tif'\)"):
        prepare_external(folder, config_of(data, moved), store, lambda line: None)


def save_digits(root: Path, rows: range, value: float) -> Path:
    digits = load_digits()
    for row in rows:
        folder = root / str(digits.target[row])
        folder.mkdir(parents=True, exist_ok=True)
        pixels = (digits.images[row] * value).astype(np.uint8)
        Image.fromarray(pixels).resize((16, 16)).save(folder / f"{row}.png")
    return root


def test_every_seed_tests_its_own_images_and_the_same_external_ones(tmp_path: Path) -> None:
    here, there = save_digits(tmp_path / "here", range(120), 15), save_digits(tmp_path / "there", range(120, 200), 6)
    options = {
        "methods": "random",
        "references": "none",
        "backbone": "test_resnet",
        "weights": "none",
        "image_size": 16,
    }
    run = {"per_class": "all", "seeds": 2, "keep": "all", "executor": "inline", "threads": 1, "device": "cpu"}
    asked = {**options, **run, "resplit": True, "test_data": str(there)}
    study = selfsup.compare(str(here), out=tmp_path / "study", **asked)
    tested = []
    for seed, suffix in enumerate(("", "-s1")):
        result = study.result(f"random-test_resnet-nall-s{seed}")
        with np.load(study.path / f"cells/{result.cell}/embeddings.npz") as arrays:
            tested.append(arrays["indices"])
        with np.load(study.path / f"split{suffix}.npz") as arrays:
            assert np.array_equal(tested[-1], arrays["test"])
        sheet = study.path / f"assets{suffix}/thumbnails.json"
        assert pd.read_json(sheet, typ="series")["indices"] == tested[-1].tolist()
        assert f"../../assets{suffix}/thumbnails.webp" in (study.path / f"cells/{result.cell}/tsne.html").read_text()
        # What `selfsup predict` says of the folder, which knows nothing of the external test.
        predicted = predict_images(study, result, there)
        right = predicted["class"] == predicted["path"].str.split("/").str[0].astype(type(predicted["class"][0]))
        assert result.external_accuracy == pytest.approx(right.mean())
        assert 0.1 < result.external_accuracy < 1
    assert not np.array_equal(*tested)
