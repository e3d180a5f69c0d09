"""What `--methods auto` and `all` stand for, and that it is said and stays."""

from __future__ import annotations

from pathlib import Path

from tests.execution.test_teachers import SMALL, few_images

import selfsup
from selfsup.config.continuation import extend, narrow
from selfsup.config.schema import StudyConfig
from selfsup.config.validation import validate
from selfsup.execution.method_choice import resolve_methods
from selfsup.methods import method_class, method_names


def config_of(**values: object) -> StudyConfig:
    return validate({"backbones": "test_resnet@none", "references": "none", "image_size": 32, **values})


def chosen(images: int = 1000, **values: object) -> tuple[list[str], list[str]]:
    said: list[str] = []
    return list(resolve_methods(config_of(**values), images, said.append).methods), said


def test_with_convolutions_three_kinds_of_methods_beside_the_baselines() -> None:
    methods, said = chosen()
    assert methods == ["simclr", "vicreg", "lejepa", "supervised", "frozen", "random"]
    assert said == [
        "Methods that did well with such networks, for 1,000 images: simclr, vicreg, lejepa, supervised, frozen, "
        "random; --methods names others, or all."
    ]


def test_with_transformers_masked_methods_too_and_never_more_than_five() -> None:
    methods, said = chosen(backbones="test_vit@none")
    assert methods == ["simclr", "moco-v3", "lejepa", "dino", "mae", "supervised", "frozen", "random"]
    assert said[0].startswith("Methods that did well with transformers, for 1,000 images: ")
    assert "mae" not in chosen(backbones="test_vit@none,test_resnet@none")[0]
    for networks in ("test_vit@none", "test_resnet@none"):
        learning = [n for n in chosen(backbones=networks)[0] if method_class(n).tags.trains and n != "supervised"]
        assert len(learning) <= 5


def test_with_few_images_nothing_that_keeps_prototypes() -> None:
    assert "dino" in chosen(500, backbones="test_vit@none")[0]
    assert "dino" not in chosen(499, backbones="test_vit@none")[0]


def test_all_is_every_method_that_fits() -> None:
    methods, said = chosen(methods="all")
    assert set(methods) == set(method_names()) - {"reference", "mae", "distill"}
    lacking = "distill (needs --set distill.teacher=NAME), mae (needs a vision transformer)"
    assert said == [f"All methods that fit, and so without {lacking}."]
    every, _ = chosen(methods="all", backbones="test_vit@none", settings={"distill": {"teacher": "test_resnet"}})
    assert set(every) == set(method_names()) - {"reference"}


def test_words_and_names_go_together_and_names_alone_are_left_as_they_are() -> None:
    assert chosen(methods="swav,auto,simclr")[0][:3] == ["swav", "simclr", "vicreg"]
    assert chosen(methods="swav,frozen") == (["swav", "frozen"], [])


def test_what_was_chosen_stays_in_a_study_that_goes_on() -> None:
    stored = config_of(methods="simclr,frozen")
    assert extend(stored, {"methods": "auto"}).methods == ("simclr", "frozen")
    assert extend(stored, {"methods": "auto,swav"}).methods == ("simclr", "frozen", "swav")
    assert narrow(stored, {"methods": "auto"}).methods == ("simclr", "frozen")


def test_a_study_stores_and_runs_the_methods_that_the_words_stood_for(tmp_path: Path) -> None:
    asked = {**SMALL, "methods": "auto", "epochs": 1, "per_class": "2"}
    study = selfsup.compare(few_images(tmp_path / "few"), out=tmp_path / "study", **asked)
    assert study.config.methods == ("simclr", "vicreg", "lejepa", "supervised", "frozen", "random")
    assert set(study.results.method) == set(study.config.methods) - {"frozen"}  # without weights it is `random`
