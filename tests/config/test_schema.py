"""The configuration: its fields, clear refusals, and the role of each field."""

from __future__ import annotations

import math
from typing import Any

import pytest

from selfsup.config.schema import StudyConfig, role_of
from selfsup.config.validation import validate
from selfsup.errors import UserError


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(UserError) as raised:
        validate(values)
    return str(raised.value)


def test_text_with_commas_stands_for_a_list_and_a_number_for_one_value() -> None:
    config = validate({"methods": "moco, byol", "lrs": "0.1,1e-3", "per_class": "5,20,all"})
    assert (config.methods, config.lrs, config.per_class) == (("moco", "byol"), (0.1, 0.001), (5, 20, "all"))
    assert (validate({"lrs": 1}).lrs, validate({"per_class": 5}).per_class) == ((1.0,), (5,))


def test_learning_rates_may_be_multiples_in_any_spelling() -> None:
    assert validate({"lrs": "0.3X, 1x,3.0x,.3x"}).lrs == ("0.3x", "1x", "3x")


@pytest.mark.parametrize("wrong", ["1x,0.1", "x", "0x", "-1x", "1e999x", "nanx", "3y"])
def test_other_multiples_and_mixtures_are_refused_with_what_would_fit(wrong: str) -> None:
    assert "multiples of each method's own rate such as 0.3x,1x,3x; not both" in refusal({"lrs": wrong})


def test_all_may_be_written_in_any_case() -> None:
    assert validate({"per_class": "5,ALL"}).per_class == (5, "all")
    assert validate({"per_class": ["All", 5]}).per_class == ("all", 5)


def test_sizes_may_be_shares_of_each_class_in_any_spelling() -> None:
    assert validate({"per_class": "1%, 0.50%,10.0%,ALL,1%"}).per_class == ("1%", "0.5%", "10%", "all")


@pytest.mark.parametrize("wrong", ["5,10%", "0%", "100%", "-1%", "nan%", "%", "ten%", "5.5"])
def test_other_shares_and_mixtures_are_refused_with_what_would_fit(wrong: str) -> None:
    assert "or shares of each class above 0% and below 100% such as 1%,10%, not both" in refusal({"per_class": wrong})


def test_repeated_values_count_once_in_their_first_place() -> None:
    config = validate({"methods": "moco,byol,moco", "lrs": [0.1, 1, 0.1, 1.0], "per_class": "all,5,all"})
    assert (config.methods, config.lrs, config.per_class) == (("moco", "byol"), (0.1, 1.0), ("all", 5))


@pytest.mark.parametrize(
    ("short_sides", "side"),
    [([8] * 5, 64), ([28, 28, 500], 64), ([70, 80], 64), ([81], 96), ([220], 224), ([900], 224)],
)
def test_views_are_as_large_as_most_images(short_sides: list[float], side: int) -> None:
    assert validate({"image_size": "auto"}).with_side_for(short_sides).side == side
    assert validate({"image_size": 48}).with_side_for(short_sides).side == 48


def test_patience_without_scores_to_count_is_refused() -> None:
    with pytest.raises(UserError, match=r"--patience 3 counts scores of the online kNN: add --knn-every 5"):
        validate({"patience": 3, "knn_every": 0})


def test_patience_that_no_training_has_the_scores_for_is_refused() -> None:
    assert validate({"epochs": 9, "knn_every": 3, "patience": 2})
    assert "--patience 3 never ends a training of --epochs 9 with --knn-every 3, which has 3 scores" in refusal(
        {"epochs": 9, "knn_every": 3, "patience": 3}
    )
    assert "has no scores" in refusal({"epochs": 9, "knn_every": 100, "patience": 1})


def test_a_value_in_a_file_is_called_by_its_name_there() -> None:
    with pytest.raises(UserError, match=r"--epochs = -1 does not fit.*; batch_size = 0 in 'my\.toml' does not fit"):
        validate({"batch_size": 0, "epochs": -1}, files={"batch_size": "my.toml"})


@pytest.mark.parametrize(("image_size", "stored"), [("auto", 256), (32, 256), (224, 256), (225, 258), (448, 512)])
def test_images_are_stored_a_seventh_larger_than_a_view_and_never_below_256(image_size: int | str, stored: int) -> None:
    assert validate({"image_size": image_size}).resolved_store_size == stored
    assert validate({"image_size": image_size, "store_size": 99}).resolved_store_size == 99


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:12", "mps"])
def test_a_device_is_accepted(device: str) -> None:
    assert validate({"device": device}).device == device


#: A value that does not fit, for every field that has a wrong value at all.
WRONG: list[tuple[str, Any]] = [
    ("data", 5),
    ("data", "pictures-\udcff"),
    ("data_root", "\udcff"),
    ("data_url", 3.5),
    ("unlabelled", "perhaps"),
    ("pool", 5),
    ("manifest", ""),
    ("no_given_split", "perhaps"),
    ("group", ["a"]),
    ("val_fraction", 0),
    ("val_fraction", 0.5),
    ("val_fraction", math.nan),
    ("test_fraction", "much"),
    ("split_seed", -1),
    ("split_duplicates", "perhaps"),
    ("resplit", "perhaps"),
    ("test_data", 5),
    ("test_data", "pictures-\udcff"),
    ("methods", []),
    ("methods", ""),
    ("methods", [7]),
    ("augmentations", ()),
    ("augmentations", None),
    ("lrs", [0.1, 0]),
    ("lrs", "-0.1"),
    ("lrs", "fast"),
    ("lrs", [math.inf]),
    ("lrs", [math.nan]),
    ("lrs", []),
    ("per_class", [5, 0]),
    ("per_class", -3),
    ("per_class", "some"),
    ("per_class", "5.5"),
    ("seeds", 0),
    ("seeds", 1.5),
    ("protocol", "label_efficiency"),
    ("epochs", 0),
    ("epochs", "ten"),
    ("epochs", 10**18),
    ("epochs", True),
    ("finetune_epochs", 10**18),
    ("threads", 10**18),
    ("threads", True),
    ("seeds", True),
    ("val_fraction", True),
    ("per_class", True),
    ("budget", f"{10**400}s"),
    ("batch_size", 1),
    ("image_size", 4),
    ("image_size", 5000),
    ("grow_from", 0),
    ("grow_from", 1.5),
    ("patience", -1),
    ("store_size", 7),
    ("full_scale", 0),
    ("pages", "some"),
    ("channels", "0,1"),
    ("show_channels", "1,2,3,4"),
    ("max_pixels", 0),
    ("full_scale", "white"),
    ("full_scale", math.inf),
    ("schedule", "linear"),
    ("warmup_epochs", -0.5),
    ("settings", "moco"),
    ("evaluate", ""),
    ("probe", "svm"),
    ("knn_neighbours", 0),
    ("metric", "kappa"),
    ("margin", 0),
    ("margin", 1),
    ("knn_temperature", 0),
    ("knn_temperature", math.inf),
    ("knn_every", -1),
    ("finetune_epochs", 0),
    ("finetune_lrs", "0"),
    ("finetune_lrs", ""),
    ("backbones", "@x"),
    ("references", "resnet18@none"),
    ("weights", ""),
    ("stem", "tiny"),
    ("device", "gpu"),
    ("device", "cuda:"),
    ("device", "cuda:x"),
    ("device", "cpu:1"),
    ("device", "auto:0"),
    ("device", "mps:0"),
    ("precision", "fp8"),
    ("threads", 0),
    ("devices", 0),
    ("workers", 0),
    ("workers", "many"),
    ("keep", "some"),
    ("checkpoint_seconds", 0),
    ("plugin", 7),
    ("plugin", [7]),
    ("track", [7]),
    ("track", None),
    ("track_weights", "perhaps"),
    ("allow_partial_weights", "perhaps"),
    ("scheduler", 3),
    ("budget", "soon"),
    ("budget", "2"),
    ("budget", "0m"),
    ("budget", "12h1d"),
    ("budget", 30),
    ("fuse", 0),
    ("reduction_factor", 1),
    ("min_epochs", 0),
    ("min_steps", -1),
    ("map_points", 9),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_gives_one_sentence_that_names_the_option_and_the_value(name: str, value: Any) -> None:
    message = refusal({name: value})
    parts = value if isinstance(value, list | tuple) and value else [value]
    pieces = [*parts, *(value.split(",") if isinstance(value, str) else [])]
    option = "settings" if name == "settings" else "--" + name.replace("_", "-")
    assert message.startswith(f"{option} = ")
    assert any(repr(piece) in message for piece in pieces)
    assert message.count("does not fit: ") == 1
    assert message.endswith(".")
    assert "\n" not in message
    assert message.isprintable()
    assert "nput should" not in message, "pydantic's wording"


def test_every_field_that_can_be_wrong_was_tried() -> None:
    assert {name for name, _ in WRONG} == set(StudyConfig.model_fields)


def test_two_wrong_values_are_both_named() -> None:
    message = refusal({"epochs": 0, "batch_size": "x"})
    assert "--epochs = 0 does not fit" in message
    assert "--batch-size = 'x' does not fit" in message


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"methods": "moco,simcrl"}, "Unknown method 'simcrl'. Did you mean 'simclr'?"),
        ({"augmentations": "weka"}, "Unknown augmentation 'weka'. Did you mean 'weak'?"),
        ({"evaluate": "finetuning"}, "Unknown evaluator 'finetuning'. Did you mean 'finetune'?"),
        ({"epoch": 3}, "Unknown setting in the configuration: 'epoch'. Did you mean 'epochs'?"),
        ({"learning_rates": [1]}, "Unknown setting in the configuration: 'learning_rates'."),
        ({"settings": {"mocco": {}}}, "Unknown method under 'settings': 'mocco'. Did you mean 'moco'?"),
    ],
)
def test_an_unknown_name_is_met_with_the_nearest_known_one(values: dict[str, Any], expected: str) -> None:
    message = refusal(values)
    assert message.startswith(expected)
    assert "Known: " in message


def test_every_field_has_a_role_and_the_axes_are_those_of_the_grid() -> None:
    roles = {name: role_of(name) for name in StudyConfig.model_fields}
    assert {name for name, role in roles.items() if role == "axis"} == {
        "methods",
        "backbones",
        "references",
        "augmentations",
        "lrs",
        "per_class",
        "seeds",
    }
    assert set(roles.values()) == {"axis", "plugins", "identity", "place", "contents", "runtime"}
    assert {name for name, role in roles.items() if role == "runtime"} == {
        "workers",
        "budget",
        "weights",
        "checkpoint_seconds",
        "data_root",
        "data_url",
    }
    assert {name for name, role in roles.items() if role == "contents"} == {
        "keep",
        "show_channels",
        "track",
        "track_weights",
        "scheduler",
        "reduction_factor",
        "min_epochs",
        "metric",
        "margin",
    }


def test_every_field_is_described_for_the_command_line() -> None:
    assert all((field.description or "").endswith(".") for field in StudyConfig.model_fields.values())


def test_the_probe_is_always_among_the_judgements() -> None:
    assert validate({}).evaluate == ("probe",)
    assert validate({"evaluate": "finetune"}).evaluate == ("probe", "finetune")
    assert validate({"evaluate": "finetune,probe"}).evaluate == ("probe", "finetune")
