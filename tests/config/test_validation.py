"""What fits a field, in words that a person would use."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError, create_model

from selfsup.config.schema import StudyConfig
from selfsup.config.validation import validate, validation_errors, what_fits
from selfsup.errors import UserError
from selfsup.methods import method_class, method_names, read_settings


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("val_fraction", "a number above 0 and below 0.5"),
        ("image_size", "a whole number of at least 8 and at most 1024 or 'auto'"),
        ("grow_from", "a number above 0 and at most 1"),
        ("unlabelled", "true or false"),
        ("group", "text that is not empty"),
        ("weights", "text that is not empty"),
        ("threads", "a whole number of at least 1 and at most 1024"),
        ("workers", "a whole number above 0 or 'auto'"),
        ("schedule", "'cosine' or 'constant'"),
        ("precision", "'auto', 'fp32', 'bf16' or 'fp16'"),
        ("finetune_lrs", "a number above 0, or several with commas between"),
    ],
)
def test_a_field_is_described_by_its_type_and_bounds(name: str, words: str) -> None:
    assert what_fits(StudyConfig.model_fields[name]) == words


def test_every_field_that_a_user_can_set_has_words() -> None:
    for fields in (StudyConfig.model_fields, *(method_class(name).Settings.model_fields for name in method_names())):
        assert all(what_fits(field) for field in fields.values())


@pytest.mark.parametrize(
    ("option", "given", "near"),
    [
        ("metric", "f1", "macro-f1"),
        ("metric", "macro_f1", "macro-f1"),
        ("metric", "balanced", "balanced-accuracy"),
        ("protocol", "label-eficiency", "label-efficiency"),
        ("image_size", "atuo", "auto"),
    ],
)
def test_a_choice_that_is_not_known_is_answered_with_the_nearest(option: str, given: str, near: str) -> None:
    flag = option.replace("_", "-")
    with pytest.raises(UserError, match=f"^--{flag} = '{given}' does not fit: did you mean '{near}'\\? It must be "):
        validate({option: given})


def test_what_is_near_to_no_choice_has_no_suggestion() -> None:
    with pytest.raises(UserError, match="--metric = 'kappa' does not fit: must be 'auto', 'accuracy'"):
        validate({"metric": "kappa"})


def test_a_value_that_misses_several_choices_is_named_once() -> None:
    model = create_model("Model", size=(int | bool, ...), share=(float, ...))
    with pytest.raises(ValidationError) as caught:
        model(size="x", share="y")
    assert [(invalid.place[0], invalid.value) for invalid in validation_errors(caught.value, model.model_fields)] == [
        ("size", "x"),
        ("share", "y"),
    ]


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("moco", {"temperature": "hot"}, "moco.temperature = 'hot' does not fit: must be a number above 0."),
        ("moco", {"temperature": True}, "moco.temperature = True does not fit: must be a number above 0."),
        ("moco", {"momentum": 1}, "moco.momentum = 1 does not fit: must be a number of at least 0 and below 1."),
        (
            "byol",
            {"momentum_schedule": "x"},
            "byol.momentum_schedule = 'x' does not fit: must be 'cosine' or 'constant'.",
        ),
    ],
)  # fmt: skip
def test_settings_of_methods_are_refused_in_the_same_words(method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_settings(method, options)
    assert str(caught.value) == message
