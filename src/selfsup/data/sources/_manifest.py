"""A table of images: their paths and, as far as they are known, labels, sides of the split and groups."""

from __future__ import annotations

import contextlib
import csv
import difflib
import os
import stat
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from selfsup.data.audit import AuditEntry, printable, quoted
from selfsup.data.formats.image_files import require_readers
from selfsup.data.items import BETWEEN_LABELS, ItemTable, Side
from selfsup.data.sources._file_source import FileSource, facts_of
from selfsup.data.sources._folder_layout import side_of
from selfsup.errors import UserError

COLUMNS = ("path", "label", "split", "group")
#: How many files that are not there are named.
NAMED = 5


class ManifestSource(FileSource):
    """The images that a manifest names, below a folder.

    A manifest is a CSV or Parquet file with a column ``path`` (below the folder) and any of ``label``, ``split`` and
    ``group``. What is empty is unknown. Where any row has several labels, with ``;`` between, images may have several.

    Parameters
    ----------
    manifest : Path
    root : Path
        The folder.
    unlabelled : bool
        Leave labels, and with them the split, out.

    Raises
    ------
    UserError
        Names the first row that does not fit, and why.
    """

    ignored: Sequence[AuditEntry] = ()

    def __init__(self, manifest: Path, root: Path, *, unlabelled: bool = False) -> None:
        self.name = printable(manifest.stem)  # a folder may have several
        file = f"'{printable(str(manifest))}'"
        paths: dict[str, None] = {}
        columns: dict[str, list[Any]] = {column: [] for column in COLUMNS[1:]}
        facts = array("q")
        missing: list[_Missing] = []
        different: dict[str, tuple[str, ...]] = {}
        for row in _read(manifest, file):
            where = f"{row.place} of {file}"
            path = _below(row.values["path"], root, where)
            if path in paths:
                raise UserError(f"{where} names '{printable(path)}', which an earlier one names too; keep one of them.")
            paths[path] = None
            try:
                facts.extend(_facts(root, path, where))
            except OSError as error:
                missing.append(_Missing(row.place, printable(path), str(error.strerror)))
            label, split, group = (row.values[column] or None for column in COLUMNS[1:])
            if label is not None and label not in different:
                different[label] = _labels(label, where)
            columns["label"].append(None if label is None or unlabelled else different[label])
            columns["split"].append(None if split is None else _side(split, where))
            columns["group"].append(group)
        if not paths:
            raise UserError(f"{file} names no image; give it a row for each.")
        if missing:
            raise UserError(_not_held(missing, file, root))
        require_readers(paths)
        names, labels, splits, groups = list(map(printable, paths)), *columns.values()
        if not any(label is not None and len(label) > 1 for label in labels):
            labels = [label and label[0] for label in labels]
        splits = [None] * len(names) if unlabelled else splits
        table = ItemTable.of_columns(names, labels, splits, tuple(groups))
        if len(table.kinds) == 1:
            raise UserError(
                f"{file} has the one label {quoted(table.kinds[0])}, and a comparison needs two or more; add the "
                "others, or give --unlabelled."
            )
        super().__init__(root, list(paths), table, np.array(facts).reshape(-1, 3))


def first_place(manifest: Path, label: str) -> str:
    """Where a manifest first has a label outside training: ``Line 7 of 'images.csv'``."""
    file = f"'{printable(str(manifest))}'"
    for row in _read(manifest, file):
        values = row.values
        if label in values["label"] and label in _labels(values["label"], file) and side_of(values["split"]) != "train":
            return f"{row.place} of {file}"
    return file


def no_manifest(file: str) -> UserError:
    """What to say of a manifest that is not there."""
    return UserError(f"There is no file {file}; check the path given to --manifest.")


def find_manifest(folder: Path) -> Path | None:
    """The first CSV file that lies directly in a folder and has the columns of a manifest, if there is one."""
    for file in sorted(folder.glob("*.csv")):
        with contextlib.suppress(OSError, UnicodeDecodeError, csv.Error), file.open(encoding="utf-8-sig") as opened:
            columns = {column.strip() for column in next(csv.reader(opened), [])}
            if {"path"} < columns <= {*COLUMNS}:
                return file
    return None


class _Missing(NamedTuple):
    """A file that is not there: where the manifest names it, its path, and what the system says of it."""

    place: str
    path: str
    reason: str


class _Row(NamedTuple):
    """A row of a manifest: where it stands (``line 7``), and its values by column, all of :data:`COLUMNS`."""

    place: str
    values: Mapping[str, str]


def _read(manifest: Path, file: str) -> Iterator[_Row]:
    try:
        rows = _parquet_rows(manifest, file) if manifest.suffix.lower() == ".parquet" else _csv_rows(manifest, file)
        yield from rows
    except FileNotFoundError:
        raise no_manifest(file) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{file} cannot be read: {error}; give a CSV (UTF-8) or Parquet file with --manifest."
        ) from None


def _csv_rows(manifest: Path, file: str) -> Iterator[_Row]:
    with manifest.open(encoding="utf-8-sig", newline="") as opened:
        table = csv.reader(opened)
        columns = [column.strip() for column in next(table, [])]
        _require_columns(columns, file)
        for values in table:
            if not values:
                continue
            if len(values) != len(columns):
                raise UserError(
                    f"Line {table.line_num} of {file} has {len(values)} values for {len(columns)} columns; put "
                    "those that hold a comma into quotes."
                )
            yield _row(f"Line {table.line_num}", dict(zip(columns, values, strict=True)))


def _parquet_rows(manifest: Path, file: str) -> Iterator[_Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(manifest)
    except pyarrow.ArrowException as error:
        raise UserError(f"{file} cannot be read: {error}; give a sound Parquet file with --manifest.") from None
    _require_columns(table.column_names, file)
    for number, values in enumerate(table.to_pylist(), 1):
        yield _row(f"Row {number}", values)


def _row(place: str, values: Mapping[str, Any]) -> _Row:
    texts = {column: "" if value is None or value != value else str(value).strip() for column, value in values.items()}
    return _Row(place, {column: texts.get(column, "") for column in COLUMNS})


def _require_columns(columns: Sequence[str], file: str) -> None:
    for column in columns:
        if column not in COLUMNS:
            near = difflib.get_close_matches(column.lower(), COLUMNS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise UserError(
                f"{file} has a column '{printable(column)}', which means nothing here.{hint} A manifest has the column "
                "path, and any of label, split and group, with commas between."
            )
    if "path" not in columns or len(set(columns)) < len(columns):
        raise UserError(
            f"{file} has the columns {', '.join(columns) or 'none'}; a manifest has path, and any of label, split and "
            "group, each once."
        )


def _below(path: str, root: Path, where: str) -> str:
    """The path relative to `root`, with ``/``."""
    if not path:
        raise UserError(f"{where} names no path; give one, or remove the row.")
    path = path.replace("\\", "/") if "\\" in path and not (root / path).exists() else path
    relative = os.path.relpath(path, root.absolute()) if os.path.isabs(path) else os.path.normpath(path)
    if relative.split(os.sep)[0] == os.pardir and os.path.isabs(path):
        folder, name = os.path.split(os.path.normpath(path))
        relative = os.path.normpath(os.path.join(_behind_link(folder, root), name))
    if relative.split(os.sep)[0] == os.pardir:
        _refuse(where, path, f"which lies outside '{printable(str(root))}'")
    return relative.replace(os.sep, "/")


@lru_cache(maxsize=1024)
def _behind_link(folder: str, root: Path) -> str:
    """Path below `root` of a folder that is named through a link; ``..`` where it does not lie there."""
    for above in (Path(folder), *Path(folder).parents):
        with contextlib.suppress(OSError):
            if above.samefile(root):
                return os.path.relpath(folder, above)
    return os.pardir


def _facts(root: Path, path: str, where: str) -> tuple[int, int, int]:
    """Those of a file that a row names."""
    status = os.stat(root / path)
    if not stat.S_ISREG(status.st_mode):
        _refuse(where, path, "which is no file")
    return facts_of(status)


def _not_held(missing: Sequence[_Missing], file: str, root: Path) -> str:
    """What to say of files that are not there: how many they are, and the first of them."""
    first, *others = missing
    text = (
        f"{first.place} of {file} names '{first.path}', which '{printable(str(root))}' does not hold ({first.reason})"
    )
    if others:
        named = ", ".join(f"'{each.path}' ({each.place.lower()})" for each in others[: NAMED - 1])
        text += f", nor {len(others):,} other{'s' * (len(others) > 1)}: {named}{', …' * (len(missing) > NAMED)}"
    return f"{text}; mend the row{'s' * bool(others)}, or name another folder of images."


def _refuse(where: str, path: str, why: str) -> NoReturn:
    raise UserError(f"{where} names '{printable(path)}', {why}; mend the row, or name another folder of images.")


def _labels(text: str, where: str) -> tuple[str, ...]:
    """The different labels in `text`, sorted."""
    labels = [label.strip() for label in text.split(BETWEEN_LABELS)]
    if not all(labels):
        raise UserError(
            f"{where} has the label '{printable(text)}', of which a part is empty; write a label on each side of every "
            f"'{BETWEEN_LABELS}', or leave it out."
        )
    return tuple(sorted({*labels}))


def _side(text: str, where: str) -> Side:
    side = side_of(text)
    if side is None:
        raise UserError(
            f"{where} has the split '{printable(text)}', which is none; write train, val or test, or leave it empty."
        )
    return side
