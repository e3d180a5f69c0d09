"""The teacher of a distillation: found before anything is trained, asked once per image, and kept in the study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.execution.test_initial_weights import save_weights

import selfsup
from selfsup.backbones import build_backbone, load_weights
from selfsup.config.validation import validate
from selfsup.data.store import open_store
from selfsup.errors import UserError
from selfsup.execution.teachers import resolve_teachers, teacher_of
from selfsup.record.folder import StudyFolder
from selfsup.views import load_policy

SMALL = {"methods": "distill", "backbone": "test_resnet", "weights": "none", "references": "none", "image_size": 32,
         "executor": "inline", "threads": 1, "per_class": "5", "lrs": "1x", "augmentations": "weak", "epochs": 2,
         "batch_size": 8}  # fmt: skip


def few_images(folder: Path) -> Path:
    """Eight images of noise in each of three classes."""
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (24, 20, 20, 3), np.uint8)):
        (folder / str(number % 3)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / str(number % 3) / f"{number}.png")
    return folder


def refusal(**teacher: str) -> str:
    with pytest.raises(UserError) as refused:
        resolve_teachers(validate({"methods": "distill", "settings": {"distill": teacher}}))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_without_a_teacher_there_is_nothing_to_distil() -> None:
    assert refusal().startswith("distill learns from a trained network; name it, as in --set distill.teacher=NAME")


def test_a_teacher_that_cannot_be_had_is_refused_with_the_remedy(tmp_path: Path) -> None:
    assert "timm has no model 'nosuchnet' (--set distill.teacher)" in refusal(teacher="nosuchnet")
    assert "must be a trained network" in refusal(teacher="resnet18@none")
    assert f"There is no weights file '{tmp_path}/w.pth'" in refusal(teacher=f"resnet18@{tmp_path}/w.pth")
    offline = refusal(teacher="resnet18.tv_in1k")
    assert offline.startswith("The teacher of distill, resnet18.tv_in1k, cannot be had: its weights are not on this")
    assert "HF_HUB_OFFLINE" in offline
    assert "--set distill.teacher=resnet18.tv_in1k@FILE" in offline


def test_it_is_refused_before_any_image_is_read(tmp_path: Path) -> None:
    asked = {**SMALL, "settings": {"distill": {"teacher": "resnet18"}}}
    (tmp_path / "no-images").mkdir()
    with pytest.raises(UserError, match="The teacher of distill"):
        selfsup.compare(tmp_path / "no-images", out=tmp_path / "study", **asked)


def test_the_study_keeps_what_the_teacher_makes_of_each_image_and_needs_it_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the size that it was published for, 160 px, and as the image is; a longer study does not look for it again."""
    file = save_weights(tmp_path / "test_resnet.safetensors")
    monkeypatch.chdir(tmp_path)
    asked = {**SMALL, "settings": {"distill": {"teacher": file.name}}}
    few = few_images(tmp_path / "few")
    study = selfsup.compare(few, out=tmp_path / "study", **asked)
    assert set(study.results.status) <= {"done", "collapsed"}
    (kept,) = (study.path / "teachers").iterdir()
    store = open_store(Path(StudyFolder(study.path).read_json("dataset.json")["store"]))
    teacher = build_backbone("test_resnet")
    load_weights(teacher, file)
    pixels, sizes = store.batch(np.arange(6))
    with torch.no_grad():
        expected = teacher.eval()(load_policy("none")(pixels, sizes, 160, torch.Generator()))
    expected = torch.nn.functional.normalize(expected, dim=1)
    found = np.load(kept)
    assert len(found) == len(store)
    np.testing.assert_allclose(found[:6], expected.numpy(), atol=1e-3)
    asked["settings"] = study.config.settings  # with the file in full
    assert asked["settings"]["distill"]["teacher"] == f"test_resnet@{file.resolve()}"
    file.unlink()
    longer = selfsup.compare(few, out=tmp_path / "study", **{**asked, "per_class": "2,5"})
    assert len(longer.results) == 2


def test_a_file_has_the_name_of_its_network(tmp_path: Path) -> None:
    file = save_weights(tmp_path / "test_resnet.safetensors")
    source = teacher_of({"distill": {"teacher": str(file)}}, "distill")
    assert source is not None
    assert (source.name, source.file, source.label) == ("test_resnet", file, "test_resnet@file")
    assert teacher_of({}, "simclr") is None
