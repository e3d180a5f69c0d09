"""The configuration: presets, TOML in and out, clear refusals, and what may change in a study."""

from __future__ import annotations

import itertools
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfsup.config import schema as configuration
from selfsup.config.grid import expand
from selfsup.config.schema import (
    StudyConfig,
    differences,
    extend,
    from_toml,
    list_presets,
    load_values,
    role_of,
    runtime_to_toml,
    to_toml,
    validate,
)
from selfsup.errors import UserError
from selfsup.methods import method_class, method_names, read_settings


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(UserError) as raised:
        validate(values)
    return str(raised.value)


# -- presets -------------------------------------------------------------------------------------


def test_there_are_three_presets() -> None:
    assert list_presets() == ["full", "quick", "recommended"]


@pytest.mark.parametrize("preset", list_presets())
def test_a_preset_is_valid_down_to_the_settings_of_its_methods(preset: str) -> None:
    config = validate(load_values(preset=preset))
    for method, options in config.settings.items():
        assert read_settings(method, options)
    assert set(config.settings) <= set(config.methods)


@pytest.mark.parametrize("preset", list_presets())
def test_a_preset_sets_only_fields_that_exist_and_says_what_it_is(preset: str) -> None:
    values = configuration.read_toml(configuration.PRESETS / f"{preset}.toml")
    assert values.pop("description").endswith(".")
    assert set(values) <= set(StudyConfig.model_fields)


def test_full_is_the_reference_studys_grid_of_455_cells() -> None:
    config = validate(load_values(preset="full"))
    tags = {name: method_class(name).tags for name in config.methods}
    cells = expand(
        methods=config.methods,
        augmentations=config.augmentations,
        lrs=config.lrs,
        per_class=config.per_class,
        seeds=config.seeds,
        tags=tags,
    )
    sizes = [5, 10, 20, 50, 100, 200, "all"]
    trained = itertools.product(
        ["supervised", "simclr", "moco", "byol"],
        ["weak", "simclr"],
        [1e-4, 3e-4, 0.01, 0.03, 0.06, 0.1, 1, 10],
        sizes,
    )
    expected = {(*point, 0) for point in trained} | {("frozen", None, None, n, 0) for n in sizes}
    assert len(cells) == 455
    assert {(c.method, c.augmentation, c.lr, c.per_class, c.seed) for c in cells} == expected
    assert (config.epochs, config.image_size, config.weights) == (100, 224, "imagenet")
    assert config.backbone.startswith("resnet18")


def test_an_unknown_preset_is_met_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"Unknown preset 'fulll'\. Did you mean 'full'\?"):
        load_values(preset="fulll")


def test_the_defaults_are_the_preset_recommended_on_the_embedded_images() -> None:
    config = validate({})
    assert config == validate(load_values(preset="recommended"))
    assert config.data == "digits"


# -- layers --------------------------------------------------------------------------------------


def test_a_file_wins_over_a_preset_and_options_win_over_both(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("epochs = 7\nbatch_size = 33\n")
    values = load_values(preset="quick", file=file, overrides={"batch_size": 44})
    assert (values["epochs"], values["batch_size"]) == (7, 44)
    assert values["lrs"] == load_values(preset="quick")["lrs"]
    assert "description" not in values


def test_settings_are_joined_method_by_method_and_option_by_option(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[settings.moco]\ntemperature = 0.1\n[settings.byol]\nhidden_dim = 8\n")
    values = load_values(preset="full", file=file, overrides={"settings": {"moco": {"queue_size": 64}}})
    published = load_values(preset="full")["settings"]
    assert values["settings"] == {
        **published,
        "moco": {**published["moco"], "temperature": 0.1, "queue_size": 64},
        "byol": {**published["byol"], "hidden_dim": 8},
    }


def test_joining_leaves_the_given_values_as_they_were() -> None:
    mine = {"settings": {"moco": {"temperature": 0.1}}}
    load_values(preset="full", overrides=mine)["settings"]["moco"]["temperature"] = 9
    assert mine == {"settings": {"moco": {"temperature": 0.1}}}


@pytest.mark.parametrize("wrong", [5, {"moco": 5}, {"moco": "temperature"}])
def test_settings_that_are_no_tables_are_refused_and_not_crashed_on(tmp_path: Path, wrong: Any) -> None:
    assert refusal(load_values(preset="full", overrides={"settings": wrong})).startswith("settings")


@pytest.mark.parametrize("content", [b"epochs = = 3", b"\xff\xfe", b"epochs = 3\nepochs = 4\n"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"mine\.toml' cannot be read as TOML: .*; mend the file"):
        load_values(file=file)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no configuration file '.*gone\.toml'.*--config"):
        load_values(file=tmp_path / "gone.toml")
    with pytest.raises(UserError, match="cannot be read as TOML"):
        load_values(file=tmp_path)
    with pytest.raises(UserError, match=r"--config is empty; name a TOML file"):
        load_values(file="")


# -- values --------------------------------------------------------------------------------------


def test_text_with_commas_stands_for_a_list_and_a_number_for_one_value() -> None:
    config = validate({"methods": "moco, byol", "lrs": "0.1,1e-3", "per_class": "5,20,all"})
    assert (config.methods, config.lrs, config.per_class) == (("moco", "byol"), (0.1, 0.001), (5, 20, "all"))
    assert (validate({"lrs": 1}).lrs, validate({"per_class": 5}).per_class) == ((1.0,), (5,))


def test_all_may_be_written_in_any_case() -> None:
    assert validate({"per_class": "5,ALL"}).per_class == (5, "all")
    assert validate({"per_class": ["All", 5]}).per_class == ("all", 5)


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
    ("group", ["a"]),
    ("val_fraction", 0),
    ("val_fraction", 0.5),
    ("val_fraction", math.nan),
    ("test_fraction", "much"),
    ("split_seed", -1),
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
    ("batch_size", 1),
    ("image_size", 4),
    ("image_size", 5000),
    ("grow_from", 0),
    ("grow_from", 1.5),
    ("patience", -1),
    ("store_size", 7),
    ("full_scale", 0),
    ("full_scale", "white"),
    ("full_scale", math.inf),
    ("schedule", "linear"),
    ("warmup_epochs", -0.5),
    ("settings", "moco"),
    ("evaluate", "finetuning"),
    ("evaluate", ""),
    ("probe", "svm"),
    ("knn_neighbours", 0),
    ("knn_temperature", 0),
    ("knn_temperature", math.inf),
    ("knn_every", -1),
    ("finetune_epochs", 0),
    ("finetune_lrs", "0"),
    ("finetune_lrs", ""),
    ("backbone", ""),
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
    ("track", [7]),
    ("track", None),
    ("track_weights", "perhaps"),
    ("scheduler", 3),
    ("fuse", 0),
    ("reduction_factor", 1),
    ("min_epochs", 0),
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
        ({"epoch": 3}, "Unknown setting in the configuration: 'epoch'. Did you mean 'epochs'?"),
        ({"learning_rates": [1]}, "Unknown setting in the configuration: 'learning_rates'."),
        ({"settings": {"mocco": {}}}, "Unknown method under 'settings': 'mocco'. Did you mean 'moco'?"),
    ],
)
def test_an_unknown_name_is_met_with_the_nearest_known_one(values: dict[str, Any], expected: str) -> None:
    message = refusal(values)
    assert message.startswith(expected)
    assert "Known: " in message


# -- TOML ----------------------------------------------------------------------------------------

LRS = st.floats(0, math.inf, exclude_min=True, exclude_max=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "data": TEXT,
        "data_root": TEXT | st.none(),
        "group": TEXT | st.none(),
        "unlabelled": st.booleans(),
        "val_fraction": st.floats(0.0001, 0.4999),
        "methods": st.lists(st.sampled_from(method_names()), min_size=1),
        "lrs": st.lists(LRS, min_size=1, max_size=5),
        "per_class": st.lists(st.integers(1, 10**9) | st.just("all"), min_size=1, max_size=5),
        "seeds": st.integers(1, 99),
        "store_size": st.integers(8, 4096) | st.none(),
        "full_scale": LRS | st.none(),
        "warmup_epochs": st.floats(0, 1e6),
        "device": st.sampled_from(["auto", "cpu", "cuda:3"]),
        "threads": st.integers(1, 64) | st.none(),
        "devices": st.integers(1, 8),
        "workers": st.integers(1, 64) | st.just("auto"),
        "settings": st.dictionaries(
            st.sampled_from(method_names()), st.dictionaries(TEXT, LRS | st.integers(0, 99) | TEXT | st.booleans())
        ),
    },
)


@given(CONFIGS)
def test_a_configuration_survives_toml_to_the_last_digit(values: dict[str, Any]) -> None:
    config = validate(values)
    text, runtime = to_toml(config), runtime_to_toml(config)
    assert from_toml(text, runtime) == config
    assert to_toml(from_toml(text)) == text
    assert not set(tomllib.loads(text)) & set(tomllib.loads(runtime))
    text.encode()


@pytest.mark.parametrize("preset", list_presets())
def test_a_written_configuration_names_every_value_that_is_set(preset: str) -> None:
    config = validate(load_values(preset=preset))
    written = tomllib.loads(to_toml(config)) | tomllib.loads(runtime_to_toml(config))
    unset = {name for name in StudyConfig.model_fields if getattr(config, name) in (None, {})}
    assert set(written) == set(StudyConfig.model_fields) - unset
    assert written["lrs"] == list(config.lrs)


@pytest.mark.parametrize(
    ("text", "named"), [("epochs = = 3", "TOML"), ("epochs = 0", "--epochs = 0"), ("x = 1", "'x'")]
)
def test_a_studys_configuration_that_someone_broke_is_refused_in_a_sentence(text: str, named: str) -> None:
    with pytest.raises(UserError, match=named):
        from_toml(text)


# -- going on with a study ---------------------------------------------------------------------------

STORED = validate({"methods": "simclr,moco", "lrs": "0.1", "per_class": "5,all", "seeds": 2, "epochs": 10})
OTHER = {
    "epochs": 20,
    "batch_size": 64,
    "precision": "bf16",
    "settings": {"moco": {"momentum": 0.5}},
}


@pytest.mark.parametrize("name", OTHER)
def test_a_value_that_changes_the_numbers_is_reported_with_old_and_new(name: str) -> None:
    old, new = getattr(STORED, name), OTHER[name]
    wanted = differences(STORED, {name: new})
    if old == "auto":
        assert wanted == [f"{name}: 'auto' in the study, {new!r} now"]
    else:
        shown = "not set" if old is None else repr(old)
        assert wanted == [f"{name}: {shown} in the study, {new!r} now"]


def test_only_what_was_asked_for_is_compared() -> None:
    assert differences(STORED, {}) == []
    assert differences(STORED, {"epochs": 10, "methods": "byol", "lrs": 3, "workers": 7, "keep": "all"}) == []
    assert len(differences(STORED, OTHER)) == len(OTHER)


def test_auto_and_unset_agree_with_whatever_the_study_resolved_them_to() -> None:
    resolved = STORED.model_copy(update={"device": "cpu", "precision": "bf16", "threads": 3, "store_size": 256})
    assert differences(resolved, {"device": "auto", "precision": "auto", "threads": None, "store_size": None}) == []
    assert differences(resolved, {"threads": 4}) == ["threads: 3 in the study, 4 now"]


def test_values_are_compared_as_they_are_understood() -> None:
    assert differences(STORED, {"epochs": "10", "val_fraction": "0.1"}) == []


def test_a_wrong_value_is_refused_before_it_is_compared() -> None:
    with pytest.raises(UserError, match="--epochs = 0"):
        differences(STORED, {"epochs": 0})
    with pytest.raises(UserError, match="--lrs"):
        extend(STORED, {"lrs": "-1"})


def test_axes_grow_and_never_shrink() -> None:
    grown = extend(STORED, {"methods": "byol,moco", "lrs": "1,0.1", "per_class": "20", "seeds": 1})
    assert grown.methods == ("simclr", "moco", "byol")
    assert grown.lrs == (0.1, 1.0)
    assert grown.per_class == (5, "all", 20)
    assert grown.seeds == 2
    assert extend(STORED, {"seeds": 5}).seeds == 5


def test_what_holds_for_one_command_is_not_handed_on_to_the_next() -> None:
    once = extend(STORED, {"workers": 3, "checkpoint_seconds": 5, "data_root": "here"})
    assert once == STORED.model_copy(update={"workers": 3, "checkpoint_seconds": 5.0, "data_root": "here"})
    assert extend(once, {}) == STORED


def test_the_weights_to_keep_are_as_they_were_until_they_are_named_again() -> None:
    everything = extend(STORED, {"keep": "all"})
    assert extend(everything, {"workers": 2}).keep == "all"
    assert extend(everything, {"keep": "none"}).keep == "none"


def test_what_determines_the_numbers_stays() -> None:
    assert extend(STORED, {"epochs": 99, "device": "cuda"}) == STORED
    assert extend(STORED, {}) == STORED


def test_the_images_may_lie_elsewhere_when_a_study_goes_on() -> None:
    assert differences(STORED, {"data": "elsewhere"}) == []
    assert extend(STORED, {"data": "elsewhere"}) == STORED.model_copy(update={"data": "elsewhere"})


def test_every_field_has_a_role_and_the_axes_are_those_of_the_grid() -> None:
    roles = {name: role_of(name) for name in StudyConfig.model_fields}
    assert {name for name, role in roles.items() if role == "axis"} == {
        "methods",
        "augmentations",
        "lrs",
        "per_class",
        "seeds",
    }
    assert set(roles.values()) == {"axis", "identity", "place", "contents", "runtime"}
    assert {name for name, role in roles.items() if role == "runtime"} == {
        "workers",
        "checkpoint_seconds",
        "data_root",
        "data_url",
    }
    assert {name for name, role in roles.items() if role == "contents"} == {
        "keep",
        "track",
        "track_weights",
        "scheduler",
        "reduction_factor",
        "min_epochs",
    }


def test_every_field_is_described_for_the_command_line() -> None:
    assert all((field.description or "").endswith(".") for field in StudyConfig.model_fields.values())


def test_the_probe_is_always_among_the_judgements() -> None:
    assert validate({}).evaluate == ("probe",)
    assert validate({"evaluate": "finetune"}).evaluate == ("probe", "finetune")
    assert validate({"evaluate": "finetune,probe"}).evaluate == ("probe", "finetune")
