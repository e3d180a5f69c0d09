"""Configurations in files: presets, layers, TOML in and out."""

from __future__ import annotations

import itertools
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfsup.config import toml_files
from selfsup.config.grid import expand
from selfsup.config.schema import StudyConfig
from selfsup.config.toml_files import FORMAT, from_toml, list_presets, load_values, runtime_to_toml, to_toml
from selfsup.config.validation import validate
from selfsup.errors import UserError
from selfsup.methods import method_class, method_names, read_settings

#: What `to_toml` of selfsup 0.1.0 made of the preset `quick`.
WRITTEN_BY_0_1_0 = Path(__file__).parent / "written_by_0_1_0.toml"

# -- presets ------------------------------------------------------------------------------------


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
    values = toml_files.read_toml(toml_files.PRESETS / f"{preset}.toml")
    assert values.pop("description").endswith(".")
    assert set(values) <= set(StudyConfig.model_fields)


def test_full_is_the_reference_studys_grid_of_455_cells() -> None:
    config = validate(load_values(preset="full"))
    tags = {name: method_class(name).tags for name in config.methods}
    cells = expand(
        methods=config.methods,
        backbones=config.networks,
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
    assert config.backbones == ("resnet18.tv_in1k@imagenet",)


def test_an_unknown_preset_is_met_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"Unknown preset 'fulll'\. Did you mean 'full'\?"):
        load_values(preset="fulll")


def test_the_defaults_are_the_preset_recommended_on_the_embedded_images() -> None:
    config = validate({})
    assert config == validate(load_values(preset="recommended"))
    assert config.data == "digits"


def test_epochs_that_are_named_are_all_there_are_unless_steps_are_named_too(tmp_path: Path) -> None:
    def steps(**given: Any) -> tuple[int, int]:
        config = validate(load_values(**given))
        return config.epochs, config.min_steps

    assert steps(preset="recommended") == (100, 1000) == (validate({}).epochs, validate({}).min_steps)
    assert steps(preset="recommended", overrides={"epochs": 50}) == (50, 0)
    assert steps(preset="recommended", overrides={"epochs": 50, "min_steps": 300}) == (50, 300)
    assert steps(preset="recommended", overrides={"min_steps": 300}) == (100, 300)
    assert steps(preset="quick") == (10, 0)
    assert steps(preset="full") == (100, 0)  # as in the reference study
    (tmp_path / "own.toml").write_text("epochs = 7")
    assert steps(preset="recommended", file=tmp_path / "own.toml") == (7, 0) == (validate({"epochs": 7}).epochs, 0)
    assert validate({"epochs": 7}).min_steps == 0


# -- layers -------------------------------------------------------------------------------------


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
    with pytest.raises(UserError, match=r"^settings"):
        validate(load_values(preset="full", overrides={"settings": wrong}))


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


# -- TOML ---------------------------------------------------------------------------------------


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
    assert set(written) == {"format", *StudyConfig.model_fields} - unset
    assert written["lrs"] == list(config.lrs)


@pytest.mark.parametrize(
    ("text", "named"), [("epochs = = 3", "TOML"), ("epochs = 0", "--epochs = 0"), ("x = 1", "'x'")]
)
def test_a_studys_configuration_that_someone_broke_is_refused_in_a_sentence(text: str, named: str) -> None:
    with pytest.raises(UserError, match=named):
        from_toml(f"format = {FORMAT}\n{text}")


@pytest.mark.parametrize(
    ("text", "version"),
    [(WRITTEN_BY_0_1_0.read_text(), r"selfsup 0\.1; use `pip install 'selfsup==0\.1\.\*'`"), ("format = 3", "a later")],
)
def test_what_another_version_wrote_is_refused_with_the_version_to_use(text: str, version: str) -> None:
    with pytest.raises(UserError, match=rf"^'my study' was written by {version}.*, or choose another --out\.$"):
        from_toml(text, study="my study")


def test_a_studys_configuration_may_be_given_as_a_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(to_toml(validate({"epochs": 7})))
    assert validate(load_values(file=file)).epochs == 7


def test_the_plug_ins_of_a_studys_configuration_are_those_that_the_study_keeps(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(to_toml(validate({"plugin": ["mine.py@3f2a"]})))
    assert load_values(file=tmp_path / "config.toml")["plugin"] == [str(tmp_path / "plugins" / "mine.py")]


def test_a_file_that_is_nested_too_deep_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.toml").write_text(f"a = {'[' * 9999}{']' * 9999}")
    with pytest.raises(UserError, match=r"deep.toml' cannot be read as TOML: maximum recursion depth exceeded"):
        load_values(file=tmp_path / "deep.toml")
