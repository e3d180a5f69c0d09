"""Options of `run` and `plan`: the fields of the configuration and of the executors, and the values given for them."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Callable
from typing import Any, TypeVar

import click
from pydantic.fields import FieldInfo

from selfsup.config.schema import StudyConfig
from selfsup.config.toml_files import list_presets
from selfsup.errors import UserError
from selfsup.execution.executors import DEFAULT, executor_names, executor_options

Command = TypeVar("Command", bound=Callable[..., Any])


class PlaceParam(click.Path):
    """A path or an address; text that is empty, as of an unset variable, is none, and not the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not value and param is not None:
            name = param.opts[0] if isinstance(param, click.Option) else param.human_readable_name
            raise UserError(f"{name} is empty, as an unset variable is; name a file or folder.")
        return super().convert(value, param, ctx)


def study_options(command: Command) -> Command:
    """Add an option for every field of the configuration."""
    for known in reversed(executor_options()):
        command = _field_option(known.name, known.field, only_with=known.executors)(command)
    for name, field in reversed(StudyConfig.model_fields.items()):
        if name in {"data", "settings"}:
            continue
        command = _field_option(name, field)(command)
    shared: list[Callable[[Command], Command]] = [
        click.option("--config", type=PlaceParam(dir_okay=False), help="TOML file with any of the options below."),
        click.option("--preset", help=f"Where to start from: {', '.join(list_presets())}. [recommended]"),
        click.option("--executor", help=f"Where cells run: {', '.join(executor_names())}. [{DEFAULT}]"),
        click.option("--set", "settings", multiple=True, metavar="METHOD.NAME=VALUE", help="A setting of one method."),
        click.argument("data", required=False),
    ]
    for decorate in shared:
        command = decorate(command)
    return command


def _field_option(name: str, field: FieldInfo, only_with: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """The option for a field of the configuration or of some executors."""
    flag = "--" + name.replace("_", "-")
    help = f"({', '.join(only_with)}) {field.description}" if only_with else field.description or ""
    if name == "plugin":
        return click.option(flag, name, multiple=True, type=PlaceParam(), metavar="FILE", help=help)
    if field.annotation is bool:
        return click.option(flag, name, is_flag=True, default=None, help=help)
    flags = ("--backbone", flag) if name == "backbones" else (flag,)
    return click.option(*flags, name, metavar="VALUE", help=f"{help}{_default(field.default)}")


def _default(value: Any) -> str:
    if value in (None, {}, ()):
        return ""
    shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
    return f" [{shown}]"


def given_values(given: dict[str, Any]) -> dict[str, Any]:
    """What was given on the command line, and nothing else."""
    arguments = {name: value for name, value in given.items() if value is not None and value != ()}
    if "settings" in arguments:
        arguments["settings"] = parse_settings(arguments["settings"])
    return arguments


def parse_settings(pairs: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    settings: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        method, dot, name = key.partition(".")
        if not (equals and dot and method and name and value):
            raise UserError(f"--set {pair} does not fit: write METHOD.NAME=VALUE, for example moco.temperature=0.1.")
        settings.setdefault(method, {})[name.replace("-", "_")] = _typed(value)
    return settings


def _typed(value: str) -> Any:
    """A value as it would be in a TOML file, so that both mean the same; what TOML cannot read is text."""
    with contextlib.suppress(tomllib.TOMLDecodeError):
        return tomllib.loads(f"value = {value}")["value"]
    return value
