"""Executors: where cells run, and what a user can tell them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from selfsup import registry
from selfsup.config.validation import explain
from selfsup.errors import UserError
from selfsup.execution.executors._submission import submissions
from selfsup.execution.executors.base import Executor
from selfsup.record.folder import StudyFolder

DEFAULT = "local"


@dataclass(frozen=True)
class ExecutorOption:
    """An option of one or several executors, as the command line shows it."""

    name: str
    field: FieldInfo
    executors: tuple[str, ...]


def executor_names() -> list[str]:
    """Names of the executors, sorted."""
    return registry.names(registry.EXECUTOR)


def load_executor(name: str, **options: Any) -> Executor:
    """The executor `name` with its options.

    Raises
    ------
    UserError
        If there is no such executor, or an option does not fit.
    """
    made = _class(name)
    registry.require(options, made.Options.model_fields, kind=f"option of --executor {name}:")
    try:
        return made(made.Options(**options))
    except ValidationError as error:
        raise UserError(explain(error, made.Options.model_fields)) from None


def executor_name(executor: Executor) -> str:
    """Name of an executor."""
    names = (*registry.ours(registry.EXECUTOR), *executor_names())
    return next(name for name in names if _class(name) is type(executor))


def executor_options() -> list[ExecutorOption]:
    """Options of the executors that come with selfsup; those that share a name are one option."""
    fields: dict[str, FieldInfo] = {}
    owners: dict[str, list[str]] = {}
    for executor in registry.ours(registry.EXECUTOR):
        for name, field in _class(executor).Options.model_fields.items():
            fields.setdefault(name, field)
            owners.setdefault(name, []).append(executor)
    return [ExecutorOption(name, field, tuple(owners[name])) for name, field in fields.items()]


def take_executor(values: dict[str, Any], command: Collection[str] = ()) -> Executor:
    """The executor that raw values of a configuration ask for; takes ``executor`` and its options out of them.

    Where the `command` itself names the executor, by these names of values, others' options in a file are left out.

    Raises
    ------
    UserError
        If there is no such executor, an option does not fit, or belongs to another executor.
    """
    name = str(values.pop("executor", DEFAULT))
    registry.require([name], executor_names(), kind="executor")
    given = _take_settings(values, name)
    for option in executor_options():
        if option.name in values:
            value = values.pop(option.name)
            if name in option.executors:
                given[option.name] = value
            elif "executor" not in command or option.name in command:
                flag, others = "--" + option.name.replace("_", "-"), " or --executor ".join(option.executors)
                raise UserError(f"{flag} is an option of --executor {others}, and this is --executor {name}.")
    return load_executor(name, **given)


def _take_settings(values: dict[str, Any], name: str) -> dict[str, Any]:
    """Options of an executor from outside, which are given as the settings of methods are."""
    settings = values.get("settings")
    if name in registry.ours(registry.EXECUTOR) or not isinstance(settings, Mapping) or name not in settings:
        return {}
    values["settings"] = {other: options for other, options in settings.items() if other != name}
    return dict(settings[name])


def executor_at_work(folder: StudyFolder) -> str | None:
    """Name of the executor that an earlier run handed jobs to which are still at work."""
    for name in sorted({ticket.executor for _, ticket in submissions(folder)}):
        if name in executor_names() and load_executor(name).has_jobs(folder):
            return name
    return None


def _class(name: str) -> Any:
    return registry.load(registry.EXECUTOR, name)
