"""Says in words what fits a field of a configuration, from the field's own type and bounds."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_BOUNDS = {
    "gt": "above {}",
    "ge": "of at least {}",
    "lt": "below {}",
    "le": "at most {}",
    "min_length": "that is not empty",
}


class InvalidValue(NamedTuple):
    """A value that does not fit.

    Attributes
    ----------
    place : tuple
        The field, then keys and indices inside it.
    value : object
        What was given there.
    remedy : str
        What would fit: ``must be a number above 0``.
    """

    place: tuple[int | str, ...]
    value: Any
    remedy: str


def validation_errors(error: ValidationError, fields: Mapping[str, FieldInfo]) -> list[InvalidValue]:
    """Every value that does not fit, once. A validator's own words are kept, pydantic's give way."""
    found: dict[tuple[str, str], InvalidValue] = {}
    for problem in error.errors():
        field = str(problem["loc"][0])
        own_words = problem["type"] == "value_error"
        remedy = str(problem["ctx"]["error"]) if own_words else f"must be {what_fits(fields[field])}"
        found.setdefault((field, repr(problem["input"])), InvalidValue(problem["loc"], problem["input"], remedy))
    return list(found.values())


def what_fits(field: FieldInfo) -> str:
    """What a field takes: ``a number above 0 and below 0.5``, ``'cosine' or 'constant'``."""
    bounds = [
        words.format(getattr(constraint, name))
        for constraint in field.metadata
        for name, words in _BOUNDS.items()
        if getattr(constraint, name, None) is not None
    ]
    return f"{_kind(field.annotation)} {' and '.join(bounds)}".rstrip()


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return _any_of([repr(choice) for choice in arguments])
    if origin in (Union, UnionType):
        return _any_of([_kind(choice) for choice in arguments if choice is not NoneType])
    if origin is tuple:
        return f"{_kind(arguments[0])}, or several with commas between"
    if origin is dict:
        return "a table of settings for each method"
    return _KINDS[annotation]


def _any_of(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
