"""Whole studies on small real images: what a scientist does, from a folder to an answer."""

from __future__ import annotations

import json
import tomllib
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from tests.undrawn import undrawn

import selfsup
from selfsup.config.schema import StudyConfig
from selfsup.errors import UserError
from selfsup.record.folder import StudyFolder
from selfsup.record.results import result_columns

TINY = {
    "backbone": "test_resnet",
    "image_size": 16,
    "batch_size": 64,
    "epochs": 2,
    "augmentations": "weak",
    "lrs": "0.03",
    "executor": "inline",
    "precision": "fp32",
    "threads": 1,
    "device": "cpu",
    "map_points": 50,
}
METHODS = "simclr,moco,supervised,random"
CLASSES = ["a <b>bold</b>", 'quote " class', "Wiesenknöterich", "{{ 7 * 7 }} @x"]


def digit(value: int, number: int) -> np.ndarray:
    digits = load_digits()
    image = digits.images[np.flatnonzero(digits.target == value)[number]]
    return (image * 255 / 16).astype(np.uint8)


def save_folder(root: Path, *, classes: list[str] = CLASSES, per_class: int = 12) -> Path:
    """A folder of real digits under hostile class names, in many modes and formats."""
    modes = ["L", "RGB", "RGBA", "CMYK", "I;16", "1"]
    for value, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            mode = modes[number % len(modes)]
            grey = Image.fromarray(digit(value, number))
            picture = (
                Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
            )
            picture.save(root / name / f"ü image {number} '{mode.replace(';', '')}'.TIF")
    return root


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> selfsup.Study:
    out = tmp_path_factory.mktemp("digits") / "study"
    return selfsup.compare("digits", out=out, methods=METHODS, per_class="5,all", **TINY)


def test_every_cell_of_the_grid_is_recorded_once(study: selfsup.Study) -> None:
    table = study.results
    assert list(table.columns) == [column.name for column in result_columns()]
    assert len(table) == 4 * 2
    assert table.cell.is_unique
    assert set(table.status) == {"done"}
    untrained = table[table.method == "random"]
    assert untrained.augmentation.isna().all()
    assert untrained.lr.isna().all()


def test_a_report_goes_to_a_file_that_is_named_as_text(study: selfsup.Study, tmp_path: Path) -> None:
    assert study.report("md", to=str(tmp_path / "mine.md")) == tmp_path / "mine.md"
    assert (tmp_path / "mine.md").read_text().startswith("# ")


def test_csv_and_parquet_hold_the_same_table(study: selfsup.Study) -> None:
    csv = pd.read_csv(study.path / "results.csv")
    parquet = pd.read_parquet(study.path / "results.parquet")
    assert list(csv.columns) == list(parquet.columns)
    np.testing.assert_array_equal(csv.test_accuracy, parquet.test_accuracy.astype(float))


def test_a_cell_holds_every_file_that_the_readme_names(study: selfsup.Study) -> None:
    names = {path.name for path in (study.path / "cells" / "simclr-test_resnet-weak-lr0.03-nall-s0").iterdir()}
    assert names == {
        "config.json",
        "metrics.json",
        "training_log.csv",
        "loss.png",
        "embeddings.npz",
        "probe.npz",
        "classification_report.csv",
        "confusion.csv",
        "confusion_matrix.png",
        "tsne.png",
        "tsne.html",
        "backbone.safetensors",
    }


def test_the_recorded_accuracy_is_that_of_the_recorded_predictions(study: selfsup.Study) -> None:
    for row in study.results.itertuples():
        with np.load(study.path / "cells" / row.cell / "embeddings.npz") as arrays:
            assert (arrays["labels"] == arrays["predicted"]).mean() == pytest.approx(row.test_accuracy)


def test_training_on_all_images_beats_five_per_class(study: selfsup.Study) -> None:
    table = study.results.set_index(["method", "per_class"]).test_accuracy
    for method in ("simclr", "supervised", "random"):
        assert table[method, "all"] > table[method, "5"]


def test_best_is_a_self_supervised_cell_with_the_highest_validation_accuracy(study: selfsup.Study) -> None:
    table = study.results
    largest = table[(table.per_class == "all") & table.method.isin(["simclr", "moco"])]
    best = study.best()
    assert best.cell == largest.loc[largest.val_accuracy.idxmax()].cell
    assert study.best(per_class=5).per_class == "5"


def test_the_kept_backbone_gives_the_recorded_embedding(study: selfsup.Study) -> None:
    import torch

    from selfsup.data.store import open_store
    from selfsup.views.none_policy import policy

    backbone = study.load_backbone()
    store = open_store(Path(json.loads((study.path / "dataset.json").read_text())["store"]))
    with np.load(study.path / "cells" / study.best().cell / "embeddings.npz") as arrays:
        indices, features = arrays["indices"][:8], arrays["features"][:8]
    views = policy(*store.batch(indices), 16, torch.Generator())
    with torch.no_grad():
        again = backbone(views).numpy()
    np.testing.assert_allclose(again, features, rtol=2e-3, atol=2e-3)  # stored in half precision


@pytest.mark.usefixtures("without_pictures")
def test_the_same_call_again_runs_nothing(study: selfsup.Study) -> None:
    before = {path: path.stat().st_mtime_ns for path in study.path.glob("cells/*/metrics.json")}
    selfsup.compare("digits", out=study.path, methods=METHODS, per_class="5,all", **TINY)
    assert before == {path: path.stat().st_mtime_ns for path in study.path.glob("cells/*/metrics.json")}


@pytest.mark.usefixtures("without_pictures")
def test_a_larger_grid_runs_only_the_new_cells_and_a_changed_setting_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "study"
    small = {**TINY, "methods": "simclr", "per_class": "5"}
    selfsup.compare("digits", out=out, **small)
    before = (out / "cells" / "simclr-test_resnet-weak-lr0.03-n5-s0" / "metrics.json").stat().st_mtime_ns
    grown = selfsup.compare("digits", out=out, **{**small, "lrs": "0.01,0.03", "per_class": "5,10"})
    assert len(grown.results) == 4
    assert (out / "cells" / "simclr-test_resnet-weak-lr0.03-n5-s0" / "metrics.json").stat().st_mtime_ns == before
    table = (out / "results.csv").read_bytes()
    with pytest.raises(UserError, match=r"epochs: 2 in the study, 3 now"):
        selfsup.compare("digits", out=out, **{**small, "epochs": 3})
    assert (out / "results.csv").read_bytes() == table


@pytest.mark.usefixtures("without_pictures")
def test_label_efficiency_trains_once_for_all_numbers_of_labels(tmp_path: Path) -> None:
    study = selfsup.compare(
        "digits",
        out=tmp_path / "study",
        protocol="label-efficiency",
        **{**TINY, "methods": "simclr,supervised", "per_class": "5,20"},
    )
    table = study.results
    ssl, supervised = table[table.method == "simclr"], table[table.method == "supervised"]
    assert ssl.final_loss.nunique() == 1
    assert ssl.train_seconds.nunique() == 1
    assert supervised.final_loss.nunique() == 2
    assert ssl.test_accuracy.is_monotonic_increasing


def test_a_folder_of_mixed_images_and_hostile_names_works(tmp_path: Path) -> None:
    data = save_folder(tmp_path / "data")
    (data / "one image").mkdir()
    Image.fromarray(digit(5, 0)).save(data / "one image" / "only.png")
    (data / CLASSES[0] / "empty.png").touch()
    (data / CLASSES[0] / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    study = selfsup.compare(
        data, out=tmp_path / "study", **{**TINY, "methods": "simclr,random", "per_class": "5,100,all"}
    )
    assert set(study.results.status) == {"done"}
    audit = pd.read_csv(study.path / "audit.csv")
    assert {"empty", "unreadable", "small class"} <= set(audit.problem)
    report = (study.path / "report.html").read_text()
    assert "<b>bold</b>" not in report
    assert "&lt;b&gt;bold&lt;/b&gt;" in report
    sizes = study.results.set_index(["method", "per_class"]).train_images
    assert sizes["simclr", "100"] == sizes["simclr", "all"]


def test_unlabelled_images_get_clusters_and_no_accuracy(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "everything"
    folder.mkdir(parents=True)
    for value in range(3):
        for number in range(15):
            Image.fromarray(digit(value, number)).save(folder / f"{value}-{number}.png")
    study = selfsup.compare(
        tmp_path / "data", out=tmp_path / "study", **{**TINY, "methods": "simclr,supervised", "per_class": "5,all"}
    )
    (row,) = study.results.itertuples()
    assert row.cell == "simclr-test_resnet-weak-lr0.03-nall-s0"
    assert pd.isna(row.test_accuracy)
    assert row.clusters >= 2
    assert (study.path / "cells" / row.cell / "tsne.html").exists()
    assert study.best().cell == row.cell
    with pytest.raises(UserError, match="supervised needs labels"):
        selfsup.compare(tmp_path / "data", out=tmp_path / "other", **{**TINY, "methods": "supervised"})


@pytest.mark.usefixtures("without_pictures")
def test_an_absurd_learning_rate_ends_as_diverged_and_the_study_goes_on(tmp_path: Path) -> None:
    study = selfsup.compare(
        "digits",
        out=tmp_path / "study",
        **{**TINY, "methods": "supervised", "lrs": "0.03,1e30", "per_class": "5", "epochs": 4},
    )
    statuses = study.results.set_index("lr").status
    assert statuses[0.03] == "done"
    assert statuses[1e30] == "diverged"
    diverged = study.results[study.results.status == "diverged"].iloc[0]
    assert "smaller learning rate" in diverged.message
    assert pd.isna(diverged.test_accuracy)


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        ("/no/such/folder", {}, "/no/such/folder"),
        ("digits", {"methods": "simclrr"}, "Did you mean 'simclr'"),
        ("digits", {"lrs": "-1"}, "--lrs"),
        ("digits", {"per_class": "0"}, "--per-class"),
        ("digits", {"epochs": "many"}, "--epochs"),
        ("digits", {"device": "tpu"}, "--device"),
        ("digits", {"backbone": "resnet1800"}, "resnet1800"),
        ("digits", {"weights": "/no/such/file.pth"}, "/no/such/file.pth"),
        ("digits", {"settings": {"moco": {"temprature": 1}}}, "temperature"),
        ("digits", {"group": "("}, "--group"),
        ("digits", {"preset": "fulll"}, "Did you mean 'full'"),
        ("digits", {"nonsense": 1}, "nonsense"),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(tmp_path: Path, data: str, options: dict, words: str) -> None:
    with pytest.raises(UserError) as caught:
        selfsup.compare(data, out=tmp_path / "study", **{**TINY, "methods": "simclr,moco", **options})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_embed_and_predict_new_images(study: selfsup.Study, tmp_path: Path) -> None:
    from selfsup.inference import embed_images, find_cell, predict_classes

    folder = tmp_path / "new"
    folder.mkdir()
    # The study's own test images, of whose class it is surest: rounding changes none of them.
    with np.load(study.path / "cells" / study.best().cell / "embeddings.npz") as arrays:
        surest = np.sort(np.argsort(arrays["confidence"])[-4:])
        images, recorded = arrays["indices"][surest], arrays["predicted"][surest]
    for number, image in enumerate(images):
        Image.fromarray((load_digits().images[image] * 255 / 16).round().astype(np.uint8)).save(
            folder / f"{number}.png"
        )
    (folder / "broken.png").write_bytes(b"no picture")
    complaints: list[str] = []
    found, cell = find_cell(study.path)
    embeddings = embed_images(found, cell, folder, device="cpu", say=complaints.append)
    assert embeddings.names == ("0.png", "1.png", "2.png", "3.png")
    assert any("broken.png" in line for line in complaints)
    table = predict_classes(found, embeddings)
    assert list(table.columns) == ["path", "class", "probability"]
    assert table["class"].tolist() == [str(label) for label in recorded]
    assert table.probability.between(0.1, 1).all()
    single = embed_images(found, cell, folder / "2.png", device="cpu")
    np.testing.assert_allclose(single.features[0], embeddings.features[2], rtol=1e-4, atol=1e-5)
    _, named = find_cell(study.path / "cells" / "random-test_resnet-n5-s0")
    assert named.cell == "random-test_resnet-n5-s0"
    with pytest.raises(UserError, match="neither a study nor a cell"):
        find_cell(tmp_path)


@pytest.mark.usefixtures("without_pictures")
def test_a_command_runs_the_cells_that_it_names_and_no_others_of_the_study(tmp_path: Path) -> None:
    out = tmp_path / "study"
    grid = {**TINY, "methods": "random"}
    selfsup.compare("digits", out=out, **{**grid, "per_class": "5", "seeds": 1})
    study = selfsup.compare("digits", out=out, **{**grid, "per_class": "10", "seeds": 2})
    assert set(study.results.cell) == {
        "random-test_resnet-n5-s0",
        "random-test_resnet-n10-s0",
        "random-test_resnet-n10-s1",
    }
    assert study.config.per_class == (5, 10)


@pytest.mark.usefixtures("without_pictures")
def test_a_folder_may_be_named_from_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_folder(tmp_path / "data", per_class=6)
    grid = {**TINY, "methods": "random", "per_class": "all"}
    monkeypatch.chdir(tmp_path)
    selfsup.compare("data/", out="study", **grid)
    monkeypatch.chdir(tmp_path / "data")
    assert len(selfsup.compare(".", out="../study", **grid).results) == 1


@pytest.mark.usefixtures("without_pictures")
def test_a_study_that_could_not_begin_binds_nobody_to_its_settings(tmp_path: Path) -> None:
    grid = {**TINY, "methods": "random", "per_class": "5"}
    with pytest.raises(UserError, match="no weights file"):
        selfsup.compare("digits", out=tmp_path / "study", **{**grid, "weights": str(tmp_path / "none.pth")})
    assert len(selfsup.compare("digits", out=tmp_path / "study", **grid).results) == 1


@pytest.mark.usefixtures("without_pictures")
def test_what_holds_for_one_command_is_not_handed_on_to_the_next(tmp_path: Path) -> None:
    out = tmp_path / "study"
    grid = {**TINY, "methods": "random", "per_class": "5"}
    study = selfsup.compare("digits", out=out, **grid, workers=3, checkpoint_seconds=7)
    assert study.folder.read_running_config().checkpoint_seconds == 7
    assert not {"workers", "checkpoint_seconds"} & set(tomllib.loads((out / "config.toml").read_text()))
    cell = json.loads((out / "cells" / "random-test_resnet-n5-s0" / "config.json").read_text())
    assert "workers" not in cell["study"]
    selfsup.compare("digits", out=out, **grid)
    assert study.folder.read_running_config().checkpoint_seconds == StudyConfig().checkpoint_seconds


@pytest.mark.usefixtures("without_pictures")
def test_weights_that_one_command_kept_survive_the_next(tmp_path: Path) -> None:
    out = tmp_path / "study"
    grid = {**TINY, "methods": "supervised", "per_class": "5", "lrs": "0.01,0.03"}
    selfsup.compare("digits", out=out, **grid, keep="all")
    study = selfsup.compare("digits", out=out, **grid)
    assert [study.folder.weights(cell).exists() for cell in study.results.cell] == [True, True]
    selfsup.compare("digits", out=out, **grid, keep="best")
    assert sorted(study.folder.weights(cell).exists() for cell in study.results.cell) == [False, True]
    selfsup.compare("digits", out=out, **grid, keep="none")
    assert not any(study.folder.weights(cell).exists() for cell in study.results.cell)


def test_every_command_that_made_a_study_is_in_its_history_and_its_report(tmp_path: Path) -> None:
    out = tmp_path / "study"
    grid = {**TINY, "methods": "random"}
    with undrawn():
        for _ in range(2):
            selfsup.compare("digits", out=out, **grid, per_class="5", command="selfsup run --per-class 5")
    selfsup.compare("digits", out=out, **grid, per_class="10", command="selfsup run --per-class 10 && <b>")
    history = json.loads((out / "run.json").read_text())
    assert [run["cells"] for run in history["runs"]] == [1, 1, 1]
    assert [run["version"] for run in history["runs"]] == [selfsup.__version__] * 3
    times = [datetime.fromisoformat(run["time"]) for run in history["runs"]]
    assert times == sorted(times)
    assert times[0].tzinfo is not None
    assert history["planned"] == 2
    page = (out / "report.html").read_text()
    assert "selfsup run --per-class 5\nselfsup run --per-class 10 &amp;&amp; &lt;b&gt;" in page


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backbone": "resnet19"}, "no model 'resnet19'"),
        ({"group": "("}, "--group '(' is not a regular expression"),
        ({"settings": {"moco": {"temprature": 1}}}, "Did you mean 'temperature'"),
        ({"settings": {"simclr": {"temperature": -1}}}, "simclr.temperature = -1 does not fit"),
        ({"weights": "nofile"}, "nofile'; name a file that is there"),
        ({"device": "cuda:99"}, "--device cuda:99 is not on this machine"),
        ({"backbone": "test_vit", "stem": "small"}, "--stem small is for networks of the ResNet family"),
    ],
)
def test_a_slip_of_the_pen_in_a_begun_study_is_not_taken_for_another_setting(
    study: selfsup.Study, options: dict, words: str
) -> None:
    with pytest.raises(UserError) as caught:
        selfsup.compare("digits", out=study.path, **{**TINY, "methods": "simclr", **options})
    assert words in str(caught.value)
    assert "begun with other settings" not in str(caught.value)


@pytest.mark.usefixtures("without_pictures")
def test_settings_of_methods_that_are_not_compared_are_read_all_the_same(tmp_path: Path) -> None:
    grid = {**TINY, "methods": "random", "per_class": "5"}
    with pytest.raises(UserError, match="Unknown setting of moco: 'temprature'"):
        selfsup.compare("digits", out=tmp_path / "s", **grid, settings={"moco": {"temprature": 1}})
    study = selfsup.compare("digits", out=tmp_path / "s", **grid, settings={"moco": {"temperature": 0.1}})
    assert study.config.settings == {"moco": {"temperature": 0.1}}


@pytest.mark.parametrize("options", [{"weights": "nofile"}, {"data": "/no/such/folder"}, {"group": "matches nothing"}])
def test_a_refused_run_leaves_no_folder_behind(tmp_path: Path, options: dict) -> None:
    given = {"data": "digits", **TINY, "methods": "random", **options}
    with pytest.raises(UserError):
        selfsup.compare(out=tmp_path / "studies" / "new", **given)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_finds_another_at_work_leaves_its_files_alone(tmp_path: Path) -> None:
    other = StudyFolder(tmp_path / "study")
    other.create()
    with other.lock():
        other.write("split.npz", b"x")
        with pytest.raises(UserError, match="Another selfsup is at work"):
            selfsup.compare("digits", out=other.path, **{**TINY, "methods": "random"})
        assert (other.path / "split.npz").exists()


@pytest.mark.usefixtures("without_pictures")
def test_a_transformer_is_trained_by_masks_small_crops_and_contrast_alike(tmp_path: Path) -> None:
    """The three kinds of methods in one study, at multiples of their own rates, read back as one table."""
    study = selfsup.compare(
        "digits",
        out=tmp_path / "study",
        methods="mae,dino,simclr",
        per_class="5",
        settings={"dino": {"hidden_dim": 64, "local_crops": 2}, "mae": {"decoder_dim": 32, "decoder_depth": 1}},
        **{**TINY, "backbone": "test_vit", "image_size": 32, "lrs": "1x"},
    )
    results = study.results.set_index("method")
    assert results.status.eq("done").all()
    assert results.augmentation.to_dict() == {"mae": "crop", "dino": "weak", "simclr": "weak"}
    assert results.lr.to_dict() == {"mae": 3.75e-5, "dino": 0.000125, "simclr": 0.000125}
    log = pd.read_csv(study.path / "cells" / results.cell["dino"] / "training_log.csv")
    assert log.columns[-1] == "teacher_entropy"
    assert log.teacher_entropy.between(0, np.log(64)).all()
    for cell in results.cell:
        backbone = study.load_backbone(cell)
        with np.load(study.path / "cells" / cell / "embeddings.npz") as stored:
            assert stored["features"].shape[1] == backbone.num_features
