"""Checks a configuration, and says in words what would fit a field, from the field's own type and bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from selfsup import registry
from selfsup.config.axes import REFERENCE
from selfsup.config.network_source import AUTO
from selfsup.config.schema import StudyConfig
from selfsup.errors import UserError

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_BOUNDS = {
    "gt": "above {}",
    "ge": "of at least {}",
    "lt": "below {}",
    "le": "at most {}",
    "multiple_of": "divisible by {}",
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
        remedy = f"must be {what_fits(fields[field])}"
        if own_words:
            remedy = str(problem["ctx"]["error"])
        elif problem["type"] == "finite_number":
            remedy = remedy.replace("a number", "a finite number")
        elif near := registry.nearest(str(problem["input"]), _choices(fields[field].annotation)):
            remedy = f"did you mean '{near}'? It {remedy}"
        found.setdefault((field, repr(problem["input"])), InvalidValue(problem["loc"], problem["input"], remedy))
    return list(found.values())


def what_fits(field: FieldInfo) -> str:
    """What a field takes: ``a number above 0 and below 0.5``, ``'cosine' or 'constant'``."""
    return _bounded(field.annotation, field.metadata)


def _bounded(annotation: Any, constraints: Sequence[Any]) -> str:
    bounds = [
        words.format(getattr(constraint, name))
        for constraint in constraints
        for name, words in _BOUNDS.items()
        if getattr(constraint, name, None) is not None
    ]
    return f"{_kind(annotation)} {' and '.join(bounds)}".rstrip()


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kind, *constraints = arguments
        return _bounded(kind, [part for c in constraints for part in getattr(c, "metadata", [c])])
    if origin is Literal:
        return _any_of([repr(choice) for choice in arguments])
    if origin in (Union, UnionType):
        return _any_of([_kind(choice) for choice in arguments if choice is not NoneType])
    if origin is tuple:
        return f"{_kind(arguments[0])}, or several with commas between"
    if origin is dict:
        return "a table of settings for each method"
    return _KINDS[annotation]


def _choices(annotation: Any) -> list[str]:
    """The words among which a field has its value, if it has any."""
    if get_origin(annotation) is Literal:
        return [choice for choice in get_args(annotation) if isinstance(choice, str)]
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def _any_of(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def validate(
    values: Mapping[str, Any], *, where: str = "the configuration", files: Mapping[str, str] = {}
) -> StudyConfig:
    """Build the configuration, or say in one sentence per problem what is wrong with it.

    Parameters
    ----------
    values : mapping
    where : str
        What the values are of.
    files : mapping of str to str
        Of values that stand in a file, the file; the others are options of a command.

    Raises
    ------
    UserError
        Names every field that does not fit, its value, and what would fit.
    """
    registry.require(values, StudyConfig.model_fields, kind=f"setting in {where}:")
    try:
        config = StudyConfig(**values)
    except ValidationError as error:
        raise UserError(explain(error, StudyConfig.model_fields, files)) from None
    if config.patience and not config.knn_every:
        raise UserError(f"--patience {config.patience} counts scores of the online kNN: add --knn-every 5, say.")
    if config.patience and config.epochs // config.knn_every <= config.patience:
        raise UserError(
            f"--patience {config.patience} never ends a training of --epochs {config.epochs} with --knn-every "
            f"{config.knn_every}, which has {config.epochs // config.knn_every or 'no'} scores of the online kNN, and "
            f"needs more than {config.patience}; take them more often."
        )
    if config.fuses:
        for flag, other in (("--devices", config.devices), ("--precision", config.precision)):
            if other not in (1, "auto", "fp32", "bf16"):
                raise UserError(f"--fuse {config.fuse} does not go with {flag} {other}; leave one of them out.")
    if config.min_epochs and config.min_epochs >= config.epochs:
        raise UserError(
            f"--min-epochs {config.min_epochs} leaves a scheduler nothing to stop in trainings of --epochs "
            f"{config.epochs}; give fewer."
        )
    known = [name for name in registry.names(registry.METHOD) if name != REFERENCE]  # that has a sentence of its own
    registry.require((name for name in config.named_methods if name != REFERENCE), known, kind="method")
    registry.require(config.augmentations, [AUTO, *registry.names(registry.POLICY)], kind="augmentation")
    registry.require(config.evaluate, registry.names(registry.EVALUATOR), kind="evaluator")
    registry.require(config.track, registry.names(registry.TRACKER), kind="tracker")
    registry.require([config.scheduler], registry.names(registry.SCHEDULER), kind="scheduler")
    registry.require(config.settings, registry.names(registry.METHOD), kind="method under 'settings':")
    return config


def explain(error: ValidationError, fields: Mapping[str, FieldInfo], files: Mapping[str, str] = {}) -> str:
    """A sentence on every value that does not fit the fields of a model, with what would have."""
    return "; ".join(_explain(invalid, files) for invalid in validation_errors(error, fields)) + "."


def _explain(invalid: InvalidValue, files: Mapping[str, str]) -> str:
    """What is wrong with one value."""
    field = str(invalid.place[0])
    if field == "settings":
        name = ".".join(map(str, invalid.place))
    else:
        name = field if field in files else "--" + field.replace("_", "-")
    place = f" in '{files[field]}'" if field in files else ""
    return f"{name} = {invalid.value!r}{place} does not fit: {invalid.remedy}"
