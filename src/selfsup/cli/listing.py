"""What `selfsup list` shows: everything there is to choose from, a line each."""

from __future__ import annotations

from collections.abc import Iterator

from selfsup import registry
from selfsup.config.toml_files import PRESETS, list_presets, read_toml


def methods(pattern: str) -> Iterator[str]:
    """Methods and their papers."""
    from selfsup.methods import method_class, method_names

    for name in method_names():
        yield f"{name:12} {registry.first_line(registry.METHOD, name)}\n{'':12} {method_class(name).paper}"


def augmentations(pattern: str) -> Iterator[str]:
    """Augmentation policies."""
    return _described(registry.POLICY)


def datasets(pattern: str) -> Iterator[str]:
    """Named data sets."""
    return _described(registry.SOURCE)


def backbones(pattern: str) -> Iterator[str]:
    """timm's models."""
    from selfsup.backbones import list_backbones

    yield from list_backbones(pattern)


def presets(pattern: str) -> Iterator[str]:
    """Presets."""
    for name in list_presets():
        yield f"{name:12} {read_toml(PRESETS / f'{name}.toml')['description']}"


def evaluators(pattern: str) -> Iterator[str]:
    """Evaluators: what is computed of every cell, or of those of studies that name it in --evaluate."""
    return _described(registry.EVALUATOR)


def schedulers(pattern: str) -> Iterator[str]:
    """Schedulers."""
    return _described(registry.SCHEDULER)


def trackers(pattern: str) -> Iterator[str]:
    """Trackers."""
    return _described(registry.TRACKER)


def _described(kind: registry.Kind) -> Iterator[str]:
    for name in registry.names(kind):
        yield f"{name:16} {registry.first_line(kind, name)}"
