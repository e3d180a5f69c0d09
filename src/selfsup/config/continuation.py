"""A study that is gone on with: what must stay as it was, and what may grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from selfsup import plugins
from selfsup.config.data_fields import is_table
from selfsup.config.field_types import no_repeats
from selfsup.config.network_source import AUTO, NONE, PUBLISHED, NetworkSource
from selfsup.config.schema import StudyConfig, names_of, role_of
from selfsup.config.toml_files import lasting_values
from selfsup.config.validation import validate


def differences(stored: StudyConfig, requested: Mapping[str, Any]) -> list[str]:
    """Where `requested` would mix unlike results into the study of `stored`.

    Only values that were asked for are compared, and ``auto`` (or None) agrees with anything.
    """
    checked = validate({**stored.model_dump(), **requested})
    lines = []
    if type(stored.lrs[0]) is not type(checked.lrs[0]):
        lines.append(f"lrs: {_kind_of_rates(stored)} in the study, {_kind_of_rates(checked)} now")
    kinds = [kind for config in (stored, checked) if (kind := _kind_of_sizes(config))]
    if len(set(kinds)) > 1:
        lines.append(f"per_class: {kinds[0]} in the study, {kinds[1]} now")
    if stored.test_data is None and checked.test_data is not None:
        lines.append("test_data: not set in the study, and set now")
    for name in StudyConfig.model_fields:
        if name not in requested or role_of(name) != "identity":
            continue
        old, new = getattr(stored, name), getattr(checked, name)
        if name == "settings":
            new = _of_methods(stored, new)
            old = {method: options for method, options in old.items() if method in new}
        if new in ("auto", None) or old == new or _elsewhere(name, old, new):
            continue
        lines.append(f"{name}: {'not set' if old is None else repr(old)} in the study, {new!r} now")
    lines += [f"plugin: {file} has changed since" for file in plugins.changed(stored.plugin, checked.plugin)]
    return lines


def _elsewhere(name: str, old: Any, new: Any) -> bool:
    """Whether a value stands for the same in another place: on another GPU, or in a table whose split is compared."""
    if name == "device":
        return bool(old.partition(":")[0] == new.partition(":")[0])
    return name == "group" and None not in (old, new) and is_table(old) and is_table(new)


def _of_methods(config: StudyConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of methods that the study has."""
    return {name: options for name, options in settings.items() if name in config.methods}


def _kind_of_rates(config: StudyConfig) -> str:
    return "multiples of the methods' own rates" if isinstance(config.lrs[0], str) else "numbers"


def _kind_of_sizes(config: StudyConfig) -> str:
    """Empty where all images are the only size."""
    sizes = [size for size in config.per_class if size != "all"]
    return "" if not sizes else "numbers" if isinstance(sizes[0], int) else "shares of each class"


def extend(stored: StudyConfig, requested: Mapping[str, Any]) -> StudyConfig:
    """The stored configuration as `requested` extends it.

    Its axes and plug-ins grow, its place and its contents change if they are named, and what holds for one command
    is `requested`'s or the default.
    """
    checked = validate({**lasting_values(stored), **requested})
    grown: dict[str, Any] = {name: getattr(checked, name) for name in names_of("runtime")}
    for name in requested:
        new = getattr(checked, name)
        if role_of(name) in ("place", "contents") or _elsewhere(name, getattr(stored, name), new):
            grown[name] = new
        elif name == "settings":  # those of methods that are new
            grown[name] = {**stored.settings, **new, **_of_methods(stored, stored.settings)}
        elif name == "seeds":
            grown[name] = max(stored.seeds, new)
        elif role_of(name) in ("axis", "plugins"):
            known = getattr(stored, name)
            if name in ("backbones", "references"):
                new = _as_known(new, known)
            elif name == "methods":  # what they were chosen to be, they stay
                new = [method for method in new if method != AUTO]
            grown[name] = no_repeats((*known, *new))
    return validate({**stored.model_dump(), **grown})


def narrow(config: StudyConfig, requested: Mapping[str, Any]) -> StudyConfig:
    """The configuration with the axes that `requested` names as they are there: what one command asks for."""
    checked = validate({**config.model_dump(), **requested})
    axes = {name: getattr(checked, name) for name in requested if role_of(name) == "axis"}
    for name in {"backbones", "references"} & axes.keys():
        axes[name] = _as_known(axes[name], getattr(config, name))
    if "methods" in axes and axes["methods"] != checked.named_methods:
        axes["methods"] = config.methods
    if "references" in axes:  # without those that could not be had
        axes["references"] = tuple(text for text in axes["references"] if text in config.references)
    return config.model_copy(update=axes)


def _as_known(networks: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The networks as the study names them: ``auto`` as it was resolved, a file of weights where it lay first."""
    moved = {(each.name, each.label): str(each) for each in map(NetworkSource.parse, known) if each.file}
    named = []
    for source in map(NetworkSource.parse, networks):
        same = [str(source)]
        if source.weights == AUTO:
            same = [str(replace(source, weights=weights)) for weights in (PUBLISHED, NONE)]
        elif source.file:
            same = [moved.get((source.name, source.label), str(source))]
        named.append(next((text for text in same if text in known), str(source)))
    return no_repeats(tuple(named))
