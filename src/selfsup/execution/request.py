"""What one command asks for: the values of its presets, files and options, and where it runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from selfsup import registry
from selfsup.config.network_source import NetworkSource
from selfsup.config.toml_files import load_values, read_toml
from selfsup.config.validation import validate
from selfsup.data.sources import require_there
from selfsup.execution.executors import take_executor
from selfsup.execution.executors.base import Executor
from selfsup.plugins import plug_in_files
from selfsup.record.folder import StudyFolder
from selfsup.record.storage import local_folder


def requested_run(
    data: str | Path | None,
    *,
    preset: str | None,
    config: str | Path | None,
    options: dict[str, Any],
    out: str | Path | None = None,
    anew: bool = False,
) -> tuple[dict[str, Any], Executor]:
    """Raw values of the configuration that was asked for, and the executor.

    Plugs in the files that are named, and those that the study in `out` keeps, or, unless it is asked for `anew`, the
    one where a run writes by default.

    Raises
    ------
    UserError
        If a value does not fit, or names a file or folder of images that is not there.
    """
    if preset is None and config is None:
        preset = "recommended"
    overrides = {name: value for name, value in options.items() if value is not None}
    if data is not None:
        overrides["data"] = str(data)
    values = load_values(preset=preset, file=config, overrides=overrides)
    if isinstance(values.get("manifest"), str) and "data" not in values:
        values["data"] = str(Path(values["manifest"]).expanduser().parent)
    registry.unplug()  # what an earlier call in this process named
    if out is not None or not anew:
        study = StudyFolder(local_folder(default_out(values) if out is None else out))
        if study.exists():
            study.read_config()
    given = values.get("plugin")
    files = [given] if isinstance(given, str | Path) else given
    if isinstance(files, list | tuple) and all(isinstance(file, str | Path) for file in files):
        values["plugin"] = plug_in_files(files)
    executor = take_executor(values, overrides)
    in_file = read_toml(Path(config)) if config is not None else {}
    asked = validate(values, files={name: str(config) for name in in_file if name not in overrides})
    for data in filter(None, (asked.data, asked.test_data)):  # before imports that take seconds
        require_there(data, pool=asked.pool, manifest=asked.manifest)
    return _with_full_paths(_with_weights(values)), executor


def default_out(values: dict[str, Any]) -> Path:
    """``studies/<name of the data>`` in the current folder, with ``-<name of the manifest>`` where there is one."""
    name = Path(str(values.get("data", "digits"))).resolve().name or "images"
    manifest = values.get("manifest")
    return Path("studies") / (f"{name}-{Path(str(manifest)).stem}" if manifest else name)


def _with_weights(values: dict[str, Any]) -> dict[str, Any]:
    """The values, where they say anything of networks or their weights, with the weights of each network."""
    if not {"backbones", "weights"} & values.keys():
        return values
    networks: dict[str, Any] = {name: values[name] for name in ("backbones", "weights") if name in values}
    return {**values, "backbones": list(validate(networks).backbones)}


def _with_full_paths(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values in which folders and files are named in full, so that they mean the same from any folder."""
    full = dict(values)
    names = {*registry.names(registry.SOURCE)}
    for name in ("data", "manifest", "pool", "group", "data_root", "test_data"):
        value = full.get(name)
        there = os.path.isfile if name == "group" else os.path.exists  # an expression may be the name of a folder
        if isinstance(value, str) and value not in names and there(value):
            full[name] = str(Path(value).resolve())
    for name in {"backbones", "references"} & full.keys():
        full[name] = [
            _with_full_path(NetworkSource.parse(text)) for text in getattr(validate({name: full[name]}), name)
        ]
    if "settings" in full:
        full["settings"] = {name: _with_full_teacher(options) for name, options in full["settings"].items()}
    return full


def _with_full_teacher(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """A method's settings with the file of its teacher, if it has one, in full."""
    try:
        return {**options, "teacher": _with_full_path(NetworkSource.trained(options["teacher"]))}
    except (KeyError, TypeError, ValueError):  # there is none, or not a name: refused where the method is known
        return options


def _with_full_path(source: NetworkSource) -> str:
    file = source.file
    if file is None:
        return str(source)
    if file.is_dir():
        from selfsup.backbones import weights_at

        file = weights_at(file, source.name)
    return str(replace(source, weights=str(file.resolve())))
