"""A network and where its weights come from, as it is asked for and as it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from selfsup.config.network_source import NetworkSource
from selfsup.config.schema import StudyConfig
from selfsup.config.validation import validate
from selfsup.errors import UserError


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("resnet18", "resnet18"),
        ("resnet18@none", "resnet18"),
        ("resnet18.tv_in1k@none", "resnet18"),
        ("resnet18@imagenet", "resnet18@imagenet"),
        ("resnet18.tv_in1k@imagenet", "resnet18.tv_in1k"),
        ("resnet18@/data/my weights.pth", "resnet18@my_weights"),
        ("resnet18.tv_in1k@resnet18.safetensors", "resnet18@file"),
    ],
)
def test_a_label_says_which_network_and_which_weights(text: str, label: str) -> None:
    assert NetworkSource.parse(text).label == label


def test_a_file_may_have_an_at_in_its_name() -> None:
    source = NetworkSource.parse("resnet18@a@b.pth")
    assert (source.name, source.file) == ("resnet18", Path("a@b.pth"))
    assert NetworkSource.parse(str(source)) == source


@pytest.mark.parametrize("text", ["@imagenet", "resnet18@", " @ "])
def test_half_a_network_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--backbones = .* does not fit: must be NAME, NAME@none"):
        validate({"backbones": text})


def test_networks_that_say_nothing_of_their_weights_have_those_of_the_option() -> None:
    config = StudyConfig(backbones="resnet18,vit_tiny@none,resnet34@imagenet", weights="w.pth")
    assert config.backbones == ("resnet18@w.pth", "vit_tiny@none", "resnet34@imagenet")


def test_two_files_of_one_name_are_refused_for_one_network() -> None:
    with pytest.raises(UserError, match=r"'resnet18@a/w.pth' and 'resnet18@b/w.pth' look alike"):
        validate({"backbones": "resnet18@a/w.pth,resnet18@b/w.pth"})


def test_two_published_weights_of_one_architecture_are_to_be_named() -> None:
    with pytest.raises(UserError, match=r"name the weights of each, as in resnet18.tv_in1k@imagenet"):
        validate({"backbones": "resnet18.a1_in1k,resnet18.tv_in1k"})
    both = ("resnet18.a1_in1k@imagenet", "resnet18.tv_in1k@imagenet")
    assert validate({"backbones": both}).backbones == both


def test_one_network_named_twice_is_one() -> None:
    assert StudyConfig(backbones="resnet18,resnet18@none", weights="none").backbones == ("resnet18@none",)


@pytest.mark.parametrize("text", ["resnet18@none", "resnet18@auto"])
def test_a_reference_without_weights_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--references = .* must be a trained network"):
        validate({"references": text})


def test_no_references_can_be_asked_for() -> None:
    assert StudyConfig(references="none").references == ()


def test_a_file_that_a_study_has_named_is_of_the_network_before_the_at(tmp_path: Path) -> None:
    file = tmp_path / "test_resnet@imagenet.safetensors"
    file.touch()
    source = NetworkSource.trained(str(file))
    assert (source.name, source.file) == ("test_resnet", file)
