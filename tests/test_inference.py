"""A study's backbones on new images: prepared as the study's own were, and refused before the work begins."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from sklearn.datasets import load_digits
from tests.undrawn import undrawn

import selfsup
from selfsup import inference
from selfsup.backbones import build_backbone, weights_file
from selfsup.csv_files import csv_rows
from selfsup.data.cache import REMEDY
from selfsup.data.store import open_store
from selfsup.errors import UserError
from selfsup.execution.watchers import Lines
from selfsup.inference import embed_images, find_cell, load_probe, predict_classes, predict_images
from selfsup.record.results import CellResult
from selfsup.report.assets import read_thumbnails
from selfsup.study import Study

TINY: dict[str, Any] = {
    "backbone": "test_resnet",
    "image_size": 16,
    "methods": "random",
    "per_class": "all",
    "executor": "inline",
    "threads": 1,
    "device": "cpu",
}
#: From the grey levels of a digit, 0 to 16, to those of a 12-bit camera.
TWELVE_BITS = 4000 / 16


def save_digits(folder: Path, factor: float, numbers: range, dtype: type = np.uint16) -> Path:
    """Digits 0 to 2 as TIFF files in a folder each, their grey levels times `factor`."""
    digits = load_digits()
    for value in range(3):
        (folder / str(value)).mkdir(parents=True)
        images = digits.images[digits.target == value]
        for number in numbers:
            Image.fromarray((images[number] * factor).astype(dtype)).save(folder / str(value) / f"{number}.tif")
    return folder


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study of 12-bit images."""
    root = tmp_path_factory.mktemp("deep")
    with undrawn():
        return selfsup.compare(save_digits(root / "data", TWELVE_BITS, range(20)), out=root / "study", **TINY)


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study of the same digits in 8 bits."""
    root = tmp_path_factory.mktemp("shallow")
    with undrawn():
        return selfsup.compare(save_digits(root / "data", 255 / 16, range(20), np.uint8), out=root / "study", **TINY)


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Study:
    root = tmp_path_factory.mktemp("unlabelled")
    data = save_digits(root / "data", 255 / 16, range(10), np.uint8)
    with undrawn():
        return selfsup.compare(data, out=root / "study", unlabelled=True, **TINY)


def embedded(study: Study, images: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Embedding of each image, and what was said."""
    said: list[str] = []
    embeddings = embed_images(*find_cell(study.path), images, device="cpu", say=said.append)
    return dict(zip(embeddings.names, embeddings.features, strict=True)), said


def test_a_new_image_is_scaled_as_the_studys_own_whatever_lies_beside_it(deep: Study, tmp_path: Path) -> None:
    dark = save_digits(tmp_path / "dark", TWELVE_BITS / 20, range(1))  # by themselves they would be made brighter
    among_dark, said = embedded(deep, dark)
    alone, _ = embedded(deep, dark / "0/0.tif")
    save_digits(tmp_path / "dark/bright", TWELVE_BITS, range(30, 34))
    among_bright, _ = embedded(deep, dark)
    np.testing.assert_allclose(among_dark["0/0.tif"], among_bright["0/0.tif"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(alone["0.tif"], among_bright["0/0.tif"], rtol=1e-4, atol=1e-5)
    (line,) = said
    assert line.startswith(
        "little contrast: the median of 3 images of more than 8 bits uses 4.9% of the scale 0 to 4095"
    )


def test_the_studys_own_image_gets_the_embedding_that_was_recorded(deep: Study) -> None:
    found, cell = find_cell(deep.path)
    with np.load(deep.path / "cells" / cell.cell / "embeddings.npz") as arrays:
        recorded, indices = arrays["features"], arrays["indices"]
    names = [row["path"] for row in csv_rows((deep.path / "images.csv").read_bytes())]
    name = names[indices[0]]
    again = embed_images(found, cell, Path(deep.config.data) / name, device="cpu")
    np.testing.assert_allclose(again.features[0], recorded[0], rtol=1e-2, atol=1e-3)  # recorded in float16


def test_new_images_brighter_than_the_studys_scale_are_clipped_and_counted(deep: Study, tmp_path: Path) -> None:
    folder = save_digits(tmp_path / "bright", TWELVE_BITS * 4, range(2))
    _, said = embedded(deep, folder)
    (line,) = said
    assert line.startswith("beyond the scale: 6 of 6 images of more than 8 bits go beyond the scale 0 to 4095")
    assert line.endswith("the first '0/0.tif' (0 to 15000)")


def test_the_images_decide_where_the_study_had_none_of_more_than_8_bits(shallow: Study, tmp_path: Path) -> None:
    deep_images, said = embedded(shallow, save_digits(tmp_path / "new", TWELVE_BITS, range(30, 32)))
    assert len(deep_images) == 6
    (line,) = said
    assert "The study had no such images, so these decide" in line
    assert "0 to 4095 becomes 0 to 255" in line
    assert embedded(shallow, save_digits(tmp_path / "plain", 255 / 16, range(2), np.uint8))[1] == []


def test_only_kinds_of_images_that_the_study_had_none_of_are_said_to_decide(deep: Study, tmp_path: Path) -> None:
    folder = tmp_path / "two kinds"
    folder.mkdir()
    np.save(folder / "integer.npy", np.full((16, 16), 3000, np.uint16))
    np.save(folder / "floating.npy", np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16))
    _, said = embedded(deep, folder)
    (line,) = (line for line in said if "these decide" in line)
    assert "1 image of floating-point numbers: 0 to 1 becomes 0 to 255" in line


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study of every page of files with black digits on nothing."""
    root = tmp_path_factory.mktemp("drawn")
    with undrawn():
        return selfsup.compare(save_drawings(root / "data", 0, range(20)), out=root / "study", pages="all", **TINY)


def save_drawings(folder: Path, grey: int, numbers: range) -> Path:
    """Digits 0 to 2 of a grey level on nothing, two in each file of a folder each."""
    digits = load_digits()
    for value in range(3):
        (folder / str(value)).mkdir(parents=True)
        alpha = (digits.images[digits.target == value] * 15).astype(np.uint8)
        for number in numbers:
            pages = [
                Image.fromarray(np.dstack([np.full((8, 8), grey, np.uint8)] * 3 + [alpha[n]])) for n in (number, -1)
            ]
            pages[0].save(folder / str(value) / f"{number}.tif", save_all=True, append_images=pages[1:])
    return folder


def test_new_images_are_put_on_the_studys_ground_and_have_its_pages(drawn: Study, tmp_path: Path) -> None:
    own, said = embedded(drawn, Path(drawn.config.data))
    assert len(own) == 120
    assert not any("transparency" in line for line in said)
    assert any("60 files with 120 in all: each is an image" in line for line in said)
    save_drawings(tmp_path / "new", 0, range(1))
    among_white, said = embedded(drawn, save_drawings(tmp_path / "new/white", 255, range(4)).parent)
    np.testing.assert_allclose(among_white["0/0.tif#page=1"], own["0/0.tif#page=1"], rtol=1e-4, atol=1e-5)
    assert len(among_white) == 6 + 24


def test_the_images_decide_on_the_ground_where_the_study_had_no_transparent_one(shallow: Study, tmp_path: Path) -> None:
    _, said = embedded(shallow, save_drawings(tmp_path / "new", 0, range(2)))
    assert any("these decide: 6 images with transparent pixels: on white" in line for line in said)


def refuse_to_open(*arguments: object, **options: object) -> None:
    raise AssertionError("the images were opened")


def test_a_device_that_is_not_there_is_refused_before_an_image_is_opened(
    shallow: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selfsup.inference.open_source", refuse_to_open)
    with pytest.raises(UserError, match=r"--device cuda:99 is not on this machine"):
        embed_images(*find_cell(shallow.path), tmp_path, device="cuda:99")


def test_a_cell_without_probe_is_refused_before_an_image_is_opened(
    unlabelled: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selfsup.inference.open_source", refuse_to_open)
    found, cell = find_cell(unlabelled.path)
    with pytest.raises(UserError, match="has no probe"):
        predict_images(found, cell, tmp_path, device="cpu")
    with pytest.raises(UserError, match="has no probe"):
        load_probe(found, cell.cell)


def test_weights_that_were_not_kept_are_missed_before_an_image_is_opened(
    shallow: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, cell = find_cell(shallow.path)
    weights = found.folder.weights(cell.cell)
    aside = weights.rename(tmp_path / "aside")
    monkeypatch.setattr("selfsup.inference.open_source", refuse_to_open)
    try:
        with pytest.raises(UserError, match="were not kept"):
            embed_images(found, cell, tmp_path, device="cpu")
    finally:
        aside.rename(weights)


def test_images_are_labelled_by_the_probe(shallow: Study, tmp_path: Path) -> None:
    folder = save_digits(tmp_path / "new", 255 / 16, range(30, 40), np.uint8)
    found, cell = find_cell(shallow.path)
    table = predict_images(found, cell, folder, device="cpu")
    assert list(table.columns) == ["path", "class", "probability"]
    assert (table["class"] == table.path.str.split("/").str[0]).mean() > 0.8
    assert isinstance(cell, CellResult)
    assert predict_classes(found, embed_images(found, cell, folder, device="cpu")).equals(table)


@pytest.mark.parametrize("name", ["photo", ".hidden.png", "photo.dat"])
def test_one_image_is_one_whatever_its_name(shallow: Study, tmp_path: Path, name: str) -> None:
    file = save_digits(tmp_path / "folder", 1, range(1), np.uint8) / "0" / "0.tif"
    plain, _ = embedded(shallow, file)
    renamed = file.rename(tmp_path / name)
    found = embed_images(shallow, shallow.best(), renamed)
    assert found.names == (name,)
    np.testing.assert_array_equal(found.features[0], plain[file.name])


def test_what_is_not_there_and_what_is_no_image_are_named(shallow: Study, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    for name, sentence in {
        "gone.png": r"There is no file or folder '.*gone\.png'; give a folder of images, or an image\.",
        "notes.txt": r"No image of 'notes\.txt' can be read, of 1 \(1 x not an image",
    }.items():
        with pytest.raises(UserError, match=sentence):
            embed_images(shallow, shallow.best(), tmp_path / name)


def test_a_full_temporary_folder_is_mended_by_another(
    shallow: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise UserError(f"'pixels.bin' cannot be written (No space left on device); {REMEDY}.")

    monkeypatch.setattr(inference, "prepare_store", full)
    images = save_digits(tmp_path / "folder", 1, range(1), np.uint8)
    with pytest.raises(UserError, match=r"\(No space left on device\); make room there, or set .* TMPDIR to another"):
        embed_images(shallow, shallow.best(), images)


def save_bands(root: Path, per_class: int) -> Path:
    """Two classes of five 16-bit bands each, which only the fifth, a faint one, tells apart."""
    rng = np.random.default_rng(0)
    for label in range(2):
        (root / f"{label}").mkdir(parents=True)
        for number in range(per_class):
            bands = rng.random((16, 16, 5)) * [40000, 3000, 900, 90, 5]
            bands[..., 4] += 60 * label
            path = root / f"{label}/{number}.tif"
            tifffile.imwrite(path, bands.astype(np.uint16), photometric="minisblack", planarconfig="contig")
    return root


def test_images_of_five_channels_from_the_folder_to_new_images(tmp_path: Path) -> None:
    donor = tmp_path / "weights.safetensors"
    donor.write_bytes(weights_file(build_backbone("test_resnet", image_size=16)))
    said = io.StringIO()
    asked = {**TINY, "methods": "simclr,frozen", "epochs": 1, "lrs": "1x", "augmentations": "auto"}
    asked |= {"backbone": f"test_resnet@{donor}", "references": f"test_resnet@{donor}", "show_channels": "5,1,2"}
    data = save_bands(tmp_path / "bands", 10)
    study = selfsup.compare(data, out=tmp_path / "study", watcher=Lines(said), **asked)
    lines = said.getvalue().splitlines()
    assert set(study.results.status) == {"done"}
    assert set(study.results.augmentation.dropna()) == {"per-channel"}
    assert sum("1 adapted to the images' channels (conv1.0.weight)" in line for line in lines) == 2
    assert any(line.startswith("Channels (see --channels): images of 5 channels: all are taken") for line in lines)
    backbone = study.load_backbone()
    store = open_store(study.folder.read_json("dataset.json")["store"])
    train = np.load(study.folder.path / "split.npz")["train"]
    pixels = np.concatenate([store.image(i).reshape(-1, 5) for i in train]) / 255
    assert np.allclose(backbone.mean.flatten(), pixels.mean(0), atol=1e-3)
    assert np.allclose(backbone.std.flatten(), pixels.std(0), atol=1e-3)
    known = read_thumbnails(study.folder.path)
    assert known is not None
    sheet = np.asarray(Image.open(io.BytesIO(known.content)).convert("RGB").resize((known.sheet.columns * 16,) * 2))
    shown = sheet[:16, :16].mean((0, 1))
    expected = store.picture(int(known.indices[0]), [5, 1, 2]).mean((0, 1))
    assert np.abs(shown - expected).max() < 12  # lossy
    new = predict_images(study, study.best(), save_bands(tmp_path / "new", 3))
    assert new["class"].tolist() == ["0"] * 3 + ["1"] * 3
    (tmp_path / "photo").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "photo/a.png")
    refusal = (
        r"No image of 'photo' fits the study, of 1 \(1 x has three, grey or colours where the study's images have 5 "
        r"channels; .*\); give images of as many channels\."
    )
    with pytest.raises(UserError, match=refusal):
        embed_images(study, study.best(), tmp_path / "photo")


def test_new_images_may_lie_in_a_zip(shallow: Study, tmp_path: Path) -> None:
    folder = save_digits(tmp_path / "new", 255 / 16, range(20, 22), np.uint8)
    archive = shutil.make_archive(str(tmp_path / "new"), "zip", folder)
    cell = shallow.best()
    here, there = embed_images(shallow, cell, folder), embed_images(shallow, cell, archive)
    assert there.names == here.names
    assert np.array_equal(there.features, here.features)


def test_a_second_run_on_other_channels_finds_the_images_it_decoded(tmp_path: Path) -> None:
    asked = {**TINY, "references": "none", "augmentations": "auto"}
    data = save_bands(tmp_path / "bands", 6)
    first = selfsup.compare(data, out=tmp_path / "study", **asked)
    store = first.folder.read_json("dataset.json")["store"]
    again = selfsup.compare(data, out=tmp_path / "study", **asked)
    assert again.folder.read_json("dataset.json")["store"] == store
    assert again.config.channels == (1, 2, 3, 4, 5)
    with pytest.raises(UserError, match=r"channels: \(1, 2, 3, 4, 5\) in the study, \(3, 2\) now"):
        selfsup.compare(data, out=tmp_path / "study", **asked, channels="3,2")
