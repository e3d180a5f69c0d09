"""Methods: self-supervised objectives and the baselines they are held against, one file each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from selfsup import registry
from selfsup.backbones import Backbone
from selfsup.config.validation import validation_errors
from selfsup.errors import UserError
from selfsup.methods.base import Batch, Method, MethodSettings, Paper, ParameterGroup, Progress, Step
from selfsup.methods.parts.recipe import Recipe
from selfsup.views import ViewGroup

__all__ = [
    "Batch",
    "Method",
    "MethodSettings",
    "Paper",
    "ParameterGroup",
    "Progress",
    "Recipe",
    "Step",
    "method_class",
    "method_names",
    "read_settings",
    "view_groups_of",
]


def method_names() -> list[str]:
    """Names of all methods, sorted."""
    return registry.names(registry.METHOD)


def method_class(name: str) -> type[Method]:
    """The class of the method `name`: the one subclass of Method that its file defines.

    Raises
    ------
    UserError
        If there is no such method.
    """
    found: type[Method] = registry.load(registry.METHOD, name)
    return found


def read_settings(name: str, options: Mapping[str, Any]) -> MethodSettings:
    """Settings of the method `name`: its defaults with `options` over them.

    Raises
    ------
    UserError
        If an option is unknown or its value does not fit.
    """
    settings = method_class(name).Settings
    registry.require(options, settings.model_fields, kind=f"setting of {name}:")
    try:
        return settings(**options)
    except ValidationError as error:
        place, value, remedy = validation_errors(error, settings.model_fields)[0]
        raise UserError(f"{name}.{place[0]} = {value!r} does not fit: {remedy}.") from None


def view_groups_of(name: str, options: Mapping[str, Any], backbone: Backbone) -> Sequence[ViewGroup]:
    """Groups of views by which the method `name` would train `backbone`; none if it does not train.

    Raises
    ------
    UserError
        If the method cannot train this network.
    """
    cls, settings = method_class(name), read_settings(name, options)
    try:
        return tuple(cls(backbone, settings, num_classes=2).view_groups()) if cls.tags.trains else ()
    except UserError:
        raise
    except Exception as error:  # one from outside that does not keep the contract, or settings too large for memory
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{name} cannot be built for such a network ({reason}); mend it, or its settings.") from error
