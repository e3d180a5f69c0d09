"""What `selfsup list` shows: everything there is to choose from, a line each."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from selfsup import registry
from selfsup.config.schema import PRESETS, list_presets, read_toml


def methods(pattern: str) -> Iterator[str]:
    """Methods and their papers."""
    from selfsup.methods import method_class, method_names

    for name in method_names():
        yield f"{name:12} {_first_line('selfsup.methods', name)}\n{'':12} {method_class(name).paper}"


def augmentations(pattern: str) -> Iterator[str]:
    """Augmentation policies."""
    return _described("selfsup.views")


def datasets(pattern: str) -> Iterator[str]:
    """Named data sets."""
    return _described("selfsup.data.sources")


def backbones(pattern: str) -> Iterator[str]:
    """timm's models."""
    from selfsup.backbones.networks import list_backbones

    yield from list_backbones(pattern)


def presets(pattern: str) -> Iterator[str]:
    """Presets."""
    for name in list_presets():
        yield f"{name:12} {read_toml(PRESETS / f'{name}.toml')['description']}"


def schedulers(pattern: str) -> Iterator[str]:
    """Schedulers."""
    return _described("selfsup.execution.schedulers")


def trackers(pattern: str) -> Iterator[str]:
    """Trackers."""
    return _described("selfsup.report.trackers")


def _described(package: str) -> Iterator[str]:
    for name in registry.names(package):
        yield f"{name:16} {_first_line(package, name)}"


def _first_line(package: str, name: str) -> str:
    """First line of a module's docstring, read without importing the module."""
    found = importlib.util.find_spec(registry.module_name(package, name))
    assert found is not None and found.origin is not None
    docstring = ast.get_docstring(ast.parse(Path(found.origin).read_text(encoding="utf-8"))) or ""
    return docstring.split("\n\n")[0].replace("\n", " ")
