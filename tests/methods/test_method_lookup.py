"""Methods are found by the names of their files, and their settings are checked at the door."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

import pytest

import selfsup.methods
from selfsup.backbones import build_backbone
from selfsup.errors import UserError
from selfsup.methods import Method, method_class, method_names, read_settings, view_groups_of


def test_every_file_without_an_underscore_is_a_method_of_its_name() -> None:
    files = {path.stem.replace("_", "-") for path in Path(selfsup.methods.__file__).parent.glob("[a-z]*.py")}
    assert set(method_names()) == files - {"base"}
    assert {"simclr", "moco", "byol", "supervised", "frozen", "random"} <= set(method_names())
    assert method_names() == sorted(method_names())


@pytest.mark.parametrize("name", method_names())
def test_a_method_is_the_one_class_that_its_file_defines(name: str) -> None:
    cls = method_class(name)
    assert issubclass(cls, Method)
    assert cls.__module__ == f"selfsup.methods.{name.replace('-', '_')}"


def test_two_names_are_two_classes() -> None:
    assert len({method_class(name) for name in method_names()}) == len(method_names())


@pytest.mark.parametrize("name", ["base", "_losses", "simclrr", ""])
def test_what_is_not_a_method_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(
        UserError,
        match=rf"Unknown method .* Known: {', '.join(method_names())}\.$",
    ):
        method_class(name)


def test_defaults_are_overridden_one_by_one() -> None:
    settings = read_settings("moco", {"temperature": 0.1})
    assert settings.temperature == 0.1
    assert settings.queue_size == read_settings("moco", {}).queue_size


def test_an_unknown_setting_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"Unknown setting of moco: 'temperatur'\. Did you mean 'temperature'\?"):
        read_settings("moco", {"temperatur": 0.1})


@pytest.mark.parametrize(
    ("method", "options", "named"),
    [
        ("simclr", {"temperature": 0}, "simclr.temperature = 0 "),
        ("simclr", {"temperature": "warm"}, "simclr.temperature = 'warm' "),
        ("moco", {"momentum": 1}, "moco.momentum = 1 "),
        ("moco", {"queue_size": 0}, "moco.queue_size = 0 "),
        ("moco-v3", {"temperature": 0}, "moco-v3.temperature = 0 "),
        ("byol", {"momentum_schedule": "linear"}, "byol.momentum_schedule = 'linear' "),
        ("supervised", {"optimizer": "sdg"}, "supervised.optimizer = 'sdg' "),
        ("supervised", {"weight_decay": -1}, "supervised.weight_decay = -1 "),
        ("supervised", {"optimizer_momentum": 1.0}, "supervised.optimizer_momentum = 1.0 "),
        ("simclr", {"temperature": math.inf}, "simclr.temperature = inf does not fit: must be a finite number above"),
        ("dino", {"momentum": math.nan}, "dino.momentum = nan does not fit: must be a finite number "),
        ("moco", {"queue_size": 10**13}, "moco.queue_size = 10000000000000 "),
        ("mae", {"decoder_heads": 3}, "mae.decoder_heads = 3 does not fit: must divide decoder_dim, 128."),
        (
            "mae",
            {"decoder_dim": 64, "decoder_heads": 5},
            "mae.decoder_heads = 5 does not fit: must divide decoder_dim, 64",
        ),
    ],
)
def test_a_setting_that_does_not_fit_is_named_with_its_value(method: str, options: dict, named: str) -> None:
    with pytest.raises(UserError, match="does not fit") as refusal:
        read_settings(method, options)
    assert str(refusal.value).startswith(named)
    assert "\n" not in str(refusal.value)


def test_a_method_that_cannot_be_built_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method_class("simclr"), "view_groups", lambda self: 5)
    backbone = build_backbone("test_resnet", image_size=32)
    with pytest.raises(UserError, match=r"simclr cannot be built for such a network \(TypeError: .*; mend it, or its"):
        view_groups_of("simclr", {}, backbone)


@pytest.mark.parametrize("method", [name for name in method_names() if method_class(name).tags.trains])
def test_a_number_that_is_out_of_all_measure_is_refused_by_every_setting(method: str) -> None:
    for name, field in method_class(method).Settings.model_fields.items():
        for kind, value in ((int, 10**13), (float, math.inf)):
            if kind in (field.annotation, *get_args(field.annotation)):
                with pytest.raises(UserError, match=rf"{method}\.{name} = {value} does not fit"):
                    read_settings(method, {name: value})
