"""The history of a study, ``run.json``: every command that was run on it, and whether one more has anything to do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from selfsup._version import __version__
from selfsup.config.network_source import WEIGHT_FILES, NetworkSource
from selfsup.config.schema import StudyConfig
from selfsup.data import hub
from selfsup.data.addresses import shown
from selfsup.data.build import store_name
from selfsup.data.sources.base import digest_of, silent
from selfsup.execution.image_source import asked_rendering, open_images
from selfsup.record.folder import StudyFolder

#: File of the study.
HISTORY = "run.json"
#: Files of a study that has nothing left to do.
FILES = ("report.html", "results.csv", "split.npz")


def runs_of(folder: StudyFolder) -> list[dict[str, Any]]:
    """What is known of the runs of a study, the first one first."""
    runs: list[dict[str, Any]] = folder.read_json(HISTORY).get("runs", [])
    return runs


def add_run(
    folder: StudyFolder,
    values: Mapping[str, Any],
    command: str | None,
    cells: Iterable[str],
    notes: Mapping[str, Any] = {},
) -> None:
    """Note a run beside the earlier ones, and how many cells the study has with it.

    Parameters
    ----------
    folder : StudyFolder
    values : mapping
        What was asked for, as it was given.
    command : str, optional
        The command line.
    cells : iterable of str
        Ids of those that the run has.
    notes : mapping, optional
        What else is to be known of it.
    """
    history, cells = folder.read_json(HISTORY), set(cells)
    run = {
        **_now(command),
        "version": __version__,
        "cells": len(cells),
        "request": _digest(values),
        **notes,
    }
    planned = len(cells | set(folder.statuses()))
    folder.write_json(HISTORY, {**history, "planned": planned, "runs": [*history.get("runs", []), run]})


def repeat_run(folder: StudyFolder, command: str | None) -> None:
    """Note that the last run was asked for once more, with nothing to do."""
    history = folder.read_json(HISTORY)
    history["runs"].append({**history["runs"][-1], **_now(command)})
    folder.write_json(HISTORY, history)


def end_run(folder: StudyFolder) -> None:
    """Note that the last run came to its end, the report included."""
    history = folder.read_json(HISTORY)
    history["runs"][-1]["ended"] = True
    folder.write_json(HISTORY, history)


def not_compared(folder: StudyFolder | None) -> dict[str, str]:
    """References that runs of a study were without, each with the repository of its weights; that was said then."""
    runs = runs_of(folder) if folder is not None else []
    return {name: repository for run in runs for name, repository in run.get("without", {}).items()}


def already_finished(folder: StudyFolder, values: Mapping[str, Any]) -> int:
    """How many cells a study has if the last run of it asked for the same and nothing is left of that; 0 if not.

    Nothing is left where every cell and the report are there, the images are the same by what tells whether decoded
    ones can be used again, no file of weights was written since, and those of references are still not to be had. What
    is not looked at here, a budget, trackers or an external test, is left to a run.

    Raises
    ------
    UserError
        If there are no images any more.
    """
    last = (runs_of(folder) or [{}])[-1]
    if not last.get("ended") or last.get("left_out") or last.get("request") != _digest(values):
        return 0
    finished, planned = len(folder.finished()), folder.read_json(HISTORY)["planned"]
    if finished != planned or not all((folder.path / name).is_file() for name in FILES):
        return 0
    config = folder.read_config()
    repositories = {*filter(None, last.get("without", {}).values())}
    if config.track or config.test_data or not _same_images(folder, config):
        return 0
    last_run = datetime.fromisoformat(last["time"]).timestamp()
    if any(written_after(source, last_run) for source in (*config.networks, *config.reference_networks)):
        return 0
    return finished if hub.unobtainable(repositories, WEIGHT_FILES).keys() == repositories else 0


def written_after(source: NetworkSource, moment: float) -> bool:
    """Whether the file of a network's weights, or one in that folder, was written after this moment in Unix time."""
    if source.file is None or not source.file.exists():
        return False
    files = source.file.iterdir() if source.file.is_dir() else [source.file]
    return any(file.stat().st_mtime > moment for file in files)


def _same_images(folder: StudyFolder, config: StudyConfig) -> bool:
    store = Path(folder.read_json("dataset.json")["store"])
    source, rendering = open_images(config, silent), asked_rendering(config, folder)
    return store_name(source, config.resolved_store_size, rendering, config.max_pixels) == store.name


def _now(command: str | None) -> dict[str, str | None]:
    return {"time": datetime.now(UTC).isoformat(timespec="seconds"), "command": shown(command) if command else None}


def _digest(values: Mapping[str, Any]) -> str:
    """Tells requests apart: by their values, what stands in a table of groups, and the version of selfsup."""
    group = values.get("group")
    table = Path(group).read_bytes() if isinstance(group, str) and Path(group).is_file() else b""
    return digest_of(__version__, json.dumps(values, sort_keys=True, default=str), table)
