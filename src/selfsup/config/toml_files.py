"""Configurations in files: presets, TOML in and out."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import tomli_w

from selfsup import plugins, registry
from selfsup.config.schema import StudyConfig, names_of
from selfsup.config.training_fields import with_named_epochs
from selfsup.config.validation import validate
from selfsup.errors import UserError

PRESETS = Path(__file__).parent / "presets"
#: What a study's files mean; stands in its configuration, but in those of selfsup 0.1. To be raised with every change
#: by which what an earlier version wrote would be misread.
FORMAT = 2


def list_presets() -> list[str]:
    """Names of the presets that ship with selfsup."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_values(
    *, preset: str | None = None, file: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Raw values of a preset, then a TOML file, then `overrides`; the later wins.

    Values of ``settings`` are joined method by method.
    """
    layers: list[Mapping[str, Any]] = []
    if preset is not None:
        registry.require([preset], list_presets(), kind="preset")
        layers.append(read_toml(PRESETS / f"{preset}.toml"))
    if file is not None:
        if not str(file):
            raise UserError("--config is empty; name a TOML file, or leave the option out.")
        layers.append(_without_references(read_toml(Path(file)), Path(file).parent))
    layers.append(overrides or {})
    values: dict[str, Any] = reduce(_merge, map(_in_full, layers), {})
    for name in ("description", "format"):  # of a preset, and of a study's config.toml given as a file
        values.pop(name, None)
    return values


def _in_full(layer: Mapping[str, Any]) -> dict[str, Any]:
    """A layer with the short form ``backbone`` in full, and epochs that no earlier layer's steps raise."""
    if "backbone" in layer and "backbones" in layer:
        raise UserError("--backbone is the short form of --backbones, and both are given; leave one of them out.")
    return {"backbones" if name == "backbone" else name: value for name, value in with_named_epochs(layer).items()}


def _without_references(values: dict[str, Any], study: Path) -> dict[str, Any]:
    """The values of a file, where it is a study's own with the files of the plug-ins that it refers to."""
    if not {"format", "plugin"} <= values.keys():
        return values
    return {**values, "plugin": [str(plugins.kept_in(study, known)) for known in values["plugin"]]}


def _merge(known: Any, given: Any) -> Any:
    """`given` in place of `known`; of two tables, name by name."""
    if not (isinstance(known, Mapping) and isinstance(given, Mapping)):
        return given
    return {**known, **{name: _merge(known.get(name), value) for name, value in given.items()}}


def read_toml(path: Path) -> dict[str, Any]:
    """Values in a TOML file.

    Raises
    ------
    UserError
        If the file is missing, unreadable or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"There is no configuration file '{path}'; check the path given to --config.") from None
    except (OSError, UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"'{path}' cannot be read as TOML: {error}; mend the file and run again.") from None


def lasting_values(config: StudyConfig) -> dict[str, Any]:
    """Values that belong to the study, as plain types: all but those that hold for one command alone."""
    return config.model_dump(mode="json", exclude=names_of("runtime"))


def to_toml(config: StudyConfig) -> str:
    """What belongs to the study, as TOML text, unset values left out; first, the format of its files."""
    return _toml({"format": FORMAT, **lasting_values(config)})


def runtime_to_toml(config: StudyConfig) -> str:
    """What holds for one command alone, as TOML text, unset values left out."""
    return _toml(config.model_dump(mode="json", include=names_of("runtime")))


def _toml(values: dict[str, Any]) -> str:
    settings = values.pop("settings", None)
    if settings:
        values["settings"] = settings  # tables come last in TOML
    return tomli_w.dumps({name: value for name, value in values.items() if value is not None})


def from_toml(text: str, runtime: str = "", *, study: object = "the study") -> StudyConfig:
    """The configuration in the texts that :func:`to_toml` and :func:`runtime_to_toml` wrote; `study` is its name.

    Where `study` is a folder, what it keeps is plugged in.

    Raises
    ------
    UserError
        If another version wrote it, or someone has changed it into what is not TOML, or not a configuration, or has
        changed a plug-in.
    """
    values = stored_values(text, study=study)
    if isinstance(study, Path):
        plugins.plug_in_kept(study, values.get("plugin", ()))
    return validate({**values, **tomllib.loads(runtime)}, where="config.toml")


def stored_values(text: str, *, study: object) -> dict[str, Any]:
    """Values in a text that :func:`to_toml` wrote.

    Raises
    ------
    UserError
        If they are not TOML, or those of another version of selfsup; names the one to use.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"config.toml of '{study}' cannot be read as TOML: {error}; mend it and run again.") from None
    found = values.pop("format", 1)
    if found != FORMAT:
        writer, install = ("selfsup 0.1", "'selfsup==0.1.*'") if found == 1 else ("a later selfsup", "-U selfsup")
        raise UserError(
            f"'{study}' was written by {writer}; use `pip install {install}` to go on with it or to read it, or choose "
            f"another --out."
        )
    return values
