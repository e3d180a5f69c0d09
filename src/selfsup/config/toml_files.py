"""Configurations in files: presets, TOML in and out."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import tomli_w

from selfsup import registry
from selfsup.config.schema import StudyConfig, names_of
from selfsup.config.validation import validate
from selfsup.errors import UserError

PRESETS = Path(__file__).parent / "presets"


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
        layers.append(read_toml(Path(file)))
    layers.append(overrides or {})
    values: dict[str, Any] = reduce(_merge, layers, {})
    values.pop("description", None)
    return values


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
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"'{path}' cannot be read as TOML: {error}; mend the file and run again.") from None


def lasting_values(config: StudyConfig) -> dict[str, Any]:
    """Values that belong to the study, as plain types: all but those that hold for one command alone."""
    return config.model_dump(mode="json", exclude=names_of("runtime"))


def to_toml(config: StudyConfig) -> str:
    """What belongs to the study, as TOML text, unset values left out."""
    return _toml(lasting_values(config))


def runtime_to_toml(config: StudyConfig) -> str:
    """What holds for one command alone, as TOML text, unset values left out."""
    return _toml(config.model_dump(mode="json", include=names_of("runtime")))


def _toml(values: dict[str, Any]) -> str:
    settings = values.pop("settings", None)
    if settings:
        values["settings"] = settings  # tables come last in TOML
    return tomli_w.dumps({name: value for name, value in values.items() if value is not None})


def from_toml(text: str, runtime: str = "") -> StudyConfig:
    """The configuration in the texts that :func:`to_toml` and :func:`runtime_to_toml` wrote.

    Raises
    ------
    UserError
        If someone has changed it into what is not TOML, or not a configuration.
    """
    try:
        values = {**tomllib.loads(text), **tomllib.loads(runtime)}
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"The study's config.toml cannot be read as TOML: {error}; mend it and run again.") from None
    return validate(values, where="config.toml")
