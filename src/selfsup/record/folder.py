"""The study's folder: the one place that decides what is durable.

Guarantees
----------
1. A cell's folder under ``cells/`` appears whole or not at all. It is written under
   ``running/aside/``, every file is flushed to the disk, then the folder is renamed into place (:mod:`selfsup.atomic`).
2. A finished cell is never changed, but for its ``backbone.safetensors``, which ``keep`` may remove.
   A failed cell is replaced as a whole when it is tried again, and a pruned one when its training goes on;
   for a moment there is neither.
3. ``cells/`` is the truth. ``results.csv`` and ``results.parquet`` are made from it and can be
   made again at any time; each is replaced in one step, so a reader sees an old or a new table.
4. A checkpoint is replaced in one step too: a crash leaves the old one or the new one.
5. One run at a time writes to a study: :meth:`StudyFolder.lock`. Beside it write its workers, each the folders of
   its own job, also after the run is gone where they belong to a cluster.
6. A study has begun once its ``config.toml`` is there, which is written last. A run that ends before
   leaves nothing behind; where it was killed, the next run begins anew. The folder then has the mark that is made
   first; nothing is written to or removed from one that has neither.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfsup import plugins
from selfsup.atomic import new_folder, remove_partials, replace_file, writing_to
from selfsup.config.schema import StudyConfig
from selfsup.config.toml_files import from_toml, runtime_to_toml, stored_values, to_toml
from selfsup.data.addresses import shown
from selfsup.errors import UserError
from selfsup.record.cell_rows import CellRows
from selfsup.record.reading import read_json, unreadable
from selfsup.record.results import FINAL, CellResult, result_columns

if TYPE_CHECKING:
    import pandas as pd

WEIGHTS = "backbone.safetensors"


class StudyFolder:
    """Reads and writes one study.

    Parameters
    ----------
    path : Path
        The study's folder; need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells = path / "cells"
        self.running = path / "running"
        self.aside = self.running / "aside"
        self._made: list[Path] = []
        self._found: set[Path] = set()
        self._rows = CellRows(self.cells)
        self.submitted = self.running / "submitted"
        self._mark = self.running / ".selfsup"

    # -- the study ---------------------------------------------------------------------------

    def exists(self) -> bool:
        """Whether a study was begun here."""
        return (self.path / "config.toml").is_file()

    def require_readable(self) -> None:
        """Refuse a study of another version of selfsup, before anything of it is read.

        Raises
        ------
        UserError
            Names the version to use.
        """
        stored_values(self._config_text(), study=self.path)

    def require_free(self) -> None:
        """Refuse a place that holds something else than a study.

        Raises
        ------
        UserError
            If it is a file, a folder with files that are not a study's, or a study of another version of selfsup.
        """
        if self.exists():
            self.require_readable()
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"--out {self.path} is a file, not a folder; choose another place for the study.")
        # The mark and no config.toml: a run was killed before its study had begun.
        if self.path.is_dir() and not self.exists() and not self._mark.exists():
            empty = {folder for folder in (self.cells, self.running) if folder.is_dir() and not any(folder.iterdir())}
            foreign = sorted(path.name for path in set(self.path.iterdir()) - empty)
            if foreign:
                raise UserError(
                    f"--out {self.path} is not a study and not empty (it holds {foreign[0]!r}); choose another."
                )

    def create(self) -> None:
        """Make the folders.

        Raises
        ------
        UserError
            If the folder cannot be written, or holds files that are not a study's.
        """
        try:
            self.require_free()
            self._found = set(self.path.iterdir()) if self.path.exists() else set()
            self._made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
            self.running.mkdir(parents=True, exist_ok=True)
            self._mark.touch()
            self.cells.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"--out {self.path} cannot be written ({error.strerror}); choose another folder.") from None

    def remove_if_unbegun(self) -> None:
        """Remove what this run made, if no study has begun here; needs the lock."""
        if self.exists():
            return
        for path in set(self.path.iterdir()) - self._found:
            with contextlib.suppress(OSError):  # Windows keeps a lock that is held
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for folder in self._made:
            with contextlib.suppress(OSError):  # it holds something else
                folder.rmdir()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the study for this process alone; the lock goes with the process, however it ends."""
        from filelock import FileLock, Timeout

        try:
            held = FileLock(self.path / ".lock", timeout=0).acquire()
        except Timeout:
            raise UserError(
                f"Another selfsup is at work on '{self.path}'; wait for it, stop it, or choose another --out."
            ) from None
        except OSError as error:
            raise UserError(f"--out {self.path} cannot be written ({error.strerror}); choose another folder.") from None
        with held:
            yield

    def is_locked(self) -> bool:
        """Whether a process of this machine holds the study; False where it cannot be asked, as on a read-only disk."""
        from filelock import FileLock, Timeout

        try:
            with FileLock(self.path / ".lock", timeout=0):
                return False
        except Timeout:
            return True
        except OSError:
            return False

    def read_config(self) -> StudyConfig:
        """The configuration with which the study was begun, or last extended."""
        return from_toml(self._config_text(), study=self.path)

    def read_running_config(self) -> StudyConfig:
        """The study's configuration with what holds for the run at work alone, such as its workers."""
        runtime = self._runtime.read_text(encoding="utf-8") if self._runtime.exists() else ""
        return from_toml(self._config_text(), runtime, study=self.path)

    def write_config(self, config: StudyConfig) -> None:
        """Write down what belongs to the study, its plug-ins too, and beside it what holds for this run alone.

        What could not be read again is refused, and nothing is changed. Where an address holds what is secret, nobody
        else may read the file.
        """
        text = to_toml(config)
        from_toml(text)
        for reference in config.plugin:
            kept = plugins.kept_in(self.path, reference)
            if not kept.exists():
                kept.parent.mkdir(exist_ok=True)
                replace_file(kept, plugins.content_of(reference))
        for path, content in ((self._runtime, runtime_to_toml(config)), (self.path / "config.toml", text)):
            replace_file(path, content.encode(), private=shown(content) != content)

    @property
    def _runtime(self) -> Path:
        return self.running / "runtime.toml"

    def _config_text(self) -> str:
        file = self.path / "config.toml"
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            text = ""
        if not text.strip():
            raise unreadable(file)
        return text

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON file of the study; empty where there is none."""
        return read_json(self.path / name)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        self.write(name, to_json(content))

    def write(self, name: str, content: bytes) -> None:
        """Replace a file of the study in one step."""
        replace_file(self.path / name, content)

    def initial_weights(self, network: str, *, reference: bool = False) -> Path:
        """The weights that trainings of a network start from, by its label; absent where those are random.

        Or those of a `reference`: the same file may have been fitted to another side.
        """
        return self.path / "initial_weights" / ("references" if reference else "") / f"{network}.safetensors"

    def teacher(self, network: str) -> Path:
        """What a teacher makes of every image of the store, float16 of unit length, by the network's label."""
        return self.path / "teachers" / f"{network}.npy"

    # -- cells -------------------------------------------------------------------------------

    def statuses(self) -> dict[str, str]:
        """Status of every recorded cell by its id."""
        return {cell_id: row["status"] for cell_id, row in self.recorded().items()}

    def recorded(self) -> dict[str, dict[str, Any]]:
        """All that is recorded of every cell, by its id."""
        return self._rows.read()

    def metrics(self, cell_id: str) -> dict[str, Any]:
        """All that is recorded of one cell; empty where it is not recorded."""
        return self.read_json(f"cells/{cell_id}/metrics.json")

    def finished(self) -> set[str]:
        """Ids of the cells that need not run again."""
        return {cell_id for cell_id, status in self.statuses().items() if status in FINAL}

    def write_cell(
        self,
        result: CellResult,
        files: Mapping[str, bytes],
        extras: Mapping[str, Any] | None = None,
        *,
        shared: Mapping[str, Path] | None = None,
    ) -> None:
        """Publish a cell: its row, what else is known of it, and its files.

        `shared` names files of an earlier cell that are this one's too: one file on the disk, where
        the system can have it under two names.
        """
        content = {**files, "metrics.json": to_json({**result.values, **(extras or {})})}
        place = self.cells / result.cell
        aside = self.aside / f"{result.cell}.{uuid.uuid4().hex}"
        with writing_to(place), new_folder(place, aside):
            for name, data in content.items():
                with open(aside / name, "wb") as file:
                    file.write(data)
            for name, path in (shared or {}).items():
                _link(path, aside / name)

    def drop_weights(self, cell_id: str) -> None:
        """Remove a cell's weights, if it has any."""
        self.weights(cell_id).unlink(missing_ok=True)

    def weights(self, cell_id: str) -> Path:
        """Where a cell's weights lie, if they were kept."""
        return self.cells / cell_id / WEIGHTS

    def job_weights(self, job_id: str) -> Path:
        """Where a running job puts the weights that its cells share."""
        return self.running / job_id / WEIGHTS

    # -- work in progress ----------------------------------------------------------------------

    def checkpoint(self, job_id: str, of: str = "training") -> Path:
        """Where a running job keeps the checkpoint of one of its trainings."""
        return self.running / job_id / ("checkpoint.pt" if of == "training" else f"checkpoint-{of}.pt")

    def log(self, job_id: str) -> Path:
        """Where a running job's output goes."""
        return self.running / job_id / "log.txt"

    def clear_job(self, job_id: str) -> None:
        """Forget a job's work in progress."""
        shutil.rmtree(self.running / job_id, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what dead processes left half-written; needs the lock, and no job at work on a cluster."""
        left = [self.aside, self.submitted]
        if not self.exists():  # of other settings, or images, than those that this run will store
            left += [self.path / "initial_weights", self.path / "teachers"]
        for folder in left:
            shutil.rmtree(folder, ignore_errors=True)
        remove_partials(self.path)

    # -- results -------------------------------------------------------------------------------

    def results(self) -> pd.DataFrame:
        """The table of all recorded cells, in the order of the grid."""
        import pandas as pd

        rows = sorted(self.recorded().values(), key=self._position())
        columns = result_columns()
        table = pd.DataFrame([[row.get(c.name) for c in columns] for row in rows], columns=[c.name for c in columns])
        numeric = {c.name: {int: "Int64", float: "float64"}[c.type] for c in columns if c.type is not str}
        return table.astype(numeric)

    def write_results(self) -> pd.DataFrame:
        """Make ``results.csv`` and ``results.parquet`` anew from the cells."""
        import io

        table = self.results()
        self.write("results.csv", table.to_csv(index=False).encode())
        parquet = io.BytesIO()
        table.to_parquet(parquet, index=False)
        self.write("results.parquet", parquet.getvalue())
        return table

    def _position(self) -> Any:
        """Sort key: place on each axis, seeds outermost as in :func:`selfsup.config.grid.expand`."""
        config = self.read_config()
        axes = {
            "method": list(config.methods),
            "backbone": [source.label for source in config.networks],
            "augmentation": list(config.policies),
            "per_class": [str(n) for n in config.per_class],
        }

        def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
            at = {name: axis.index(row[name]) if row[name] in axis else len(axis) for name, axis in axes.items()}
            lr, cell = row["lr"] or 0.0, row["cell"]
            return row["seed"], at["method"], at["backbone"], at["augmentation"], lr, at["per_class"], cell

        return key


def _link(path: Path, name: Path) -> None:
    """Give a file a second name; a copy, where the file system has no such thing."""
    try:
        os.link(path, name)
    except OSError:
        shutil.copyfile(path, name)


def to_json(content: Mapping[str, Any]) -> bytes:
    """JSON text; names of files that are not valid Unicode are kept as escapes."""
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
