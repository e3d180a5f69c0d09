"""A data set of the Hugging Face hub (``hf:NAME``), or a folder as ``datasets`` and the hub have it: Parquet or Arrow.

Read by pyarrow, where it lies: the column of images, that of labels, and the side of the split in the files' names.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from selfsup.data.audit import printable
from selfsup.data.formats.image_files import IMAGE_SUFFIXES, open_image, suffix_of
from selfsup.data.items import BETWEEN_LABELS, Item, ItemTable, Side
from selfsup.data.sources._file_source import FileSource, facts_of
from selfsup.data.sources._folder_layout import side_of
from selfsup.data.sources._passed_over import is_left_by_a_system
from selfsup.data.sources.base import EmptyFileError, Source, SourceOptions, digest_of
from selfsup.data.sources.containers._image_tables import SUFFIXES, ImageTable, may_hold_images, open_table
from selfsup.data.sources.containers._listed_files import split_by_name
from selfsup.errors import UserError

PREFIX = "hf:"
#: Folders below that of a data set in which its tables may lie: a configuration, and a side of the split.
DEPTH = 2
#: Where the hub keeps what it has made of data sets in other formats.
CONVERTED = "refs/convert/parquet"
#: What columns of labels are called where no column is declared to be one.
LABELS = ("label", "labels", "class", "fine_label", "target")


class HuggingFace:
    """``hf:NAME``, or a folder with tables and no images."""

    def takes(self, data: str) -> bool:
        folder = Path(data).expanduser()
        return data.startswith(PREFIX) or (folder.is_dir() and not all(map(_is_of_paths, _tables(folder))))

    def open_source(self, data: str, options: SourceOptions) -> Source:
        folder = _from_hub(data.removeprefix(PREFIX)) if data.startswith(PREFIX) else Path(data).expanduser()
        return HuggingFaceSource(data.removeprefix(PREFIX), folder, options)


def _tables(folder: Path) -> list[Path]:
    """Tables in a folder and two levels below, as data sets are published and saved; none where there is an image.

    Stops at the first image, for most folders that are asked for hold a million of them and nothing else.
    """
    tables, waiting = list[Path](), [(folder, 0)]
    while waiting:
        place, depth = waiting.pop()
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                suffix = suffix_of(entry.name)
                if is_left_by_a_system(entry.name):
                    continue
                if suffix in IMAGE_SUFFIXES:
                    return []
                if suffix in SUFFIXES and entry.is_file():
                    tables.append(Path(entry.path))
                elif depth < DEPTH and entry.is_dir():
                    waiting.append((Path(entry.path), depth + 1))
    return sorted(tables)


def _is_of_paths(file: Path) -> bool:
    """Whether a table is one of images by their paths (a manifest, embeddings), which may lie anywhere."""
    try:
        schema = open_table(file).schema
    except UserError:  # which is said when its images are asked for
        return False
    return "path" in schema.names and not any(may_hold_images(field.type) for field in schema)


def _from_hub(name: str) -> Path:
    """The folder with a data set's Parquet files, from the hub's cache or downloaded into it.

    Raises
    ------
    UserError
        If there is no such data set, or it cannot be had.
    """
    from huggingface_hub import snapshot_download

    reason: Exception | None = None
    for revision in (None, CONVERTED):
        try:
            folder = Path(snapshot_download(name, repo_type="dataset", revision=revision, allow_patterns="*.parquet"))
        except Exception as error:
            reason = reason or error
        else:
            if any(folder.rglob("*.parquet")):
                return folder
    said = f" ({type(reason).__name__})" if reason else ", or it has no Parquet files"
    raise UserError(
        f"The data set '{printable(name)}' cannot be had from the Hugging Face hub{said}; check its name and the "
        "network, or give a folder that `Dataset.save_to_disk` or a download made."
    )


@dataclass(frozen=True)
class _Columns:
    """Which columns of a table are images and labels, and the names of classes that are stored as numbers."""

    image: str
    label: str | None
    classes: tuple[str, ...] | None


class HuggingFaceSource:
    """The rows of a data set's tables that hold an image.

    Parameters
    ----------
    data : str
        As messages name it.
    folder : Path
    options : SourceOptions
    """

    def __init__(self, data: str, folder: Path, options: SourceOptions) -> None:
        where = printable(data)
        self.name = where.rstrip("/").rpartition("/")[2] or "images"
        self._folder = folder
        paths = _of_one_configuration(where, folder, _tables(folder))
        self._tables = list(map(open_table, paths))
        schema = self._tables[0].schema
        if any(table.schema.names != schema.names for table in self._tables):
            raise UserError(f"The tables of '{where}' have different columns; give the folder of one of them.")
        self._columns = _columns(where, schema, options)
        self._paths = [path.relative_to(folder).as_posix() for path in paths]
        self._sides = [_side(Path(path)) for path in self._paths]
        self.ignored = split_by_name(self._sides, options)

    @cached_property
    def _rows(self) -> list[tuple[int, int]]:
        """Of each image, its table and row."""
        return [(place, row) for place, table in enumerate(self._tables) for row in range(table.count)]

    @cached_property
    def items(self) -> Sequence[Item]:
        found = [
            (f"{printable(path)}/{row}", labels, side if self.ignored else None)
            for path, table, side in zip(self._paths, self._tables, self._sides, strict=True)
            for row, labels in enumerate(self._labels(table))
        ]
        if not any(len(labels) > 1 for _, labels, _ in found):
            return [Item(name, labels[0] if labels else None, side) for name, labels, side in found]
        if between := next((one for _, labels, _ in found for one in labels if BETWEEN_LABELS in one), None):
            raise UserError(f"'{self.name}' has the label '{between}', and '{BETWEEN_LABELS}' parts labels; rename it.")
        return [Item(name, labels or None, side) for name, labels, side in found]

    def _labels(self, table: ImageTable) -> list[tuple[str, ...]]:
        """Of each row the different labels, sorted; none where it is not known."""
        if self._columns.label is None:
            return [()] * table.count
        values = table.column(self._columns.label)
        if count := _indicators(values):
            raise UserError(
                f"The column '{self._columns.label}' of '{self.name}' says of each of {count} labels whether an "
                "image has it (0 or 1); give lists of the labels that it has, or --unlabelled."
            )
        return [self._known(value if isinstance(value, list) else [value]) for value in values]

    def _known(self, values: Sequence[Any]) -> tuple[str, ...]:
        classes = self._columns.classes
        known = [value for value in values if value not in (None, "") and value == value]  # NaN is unlike itself
        names = {printable(str(value)) for value in known} if classes is None else {classes[n] for n in known if n >= 0}
        return tuple(sorted(names))

    def fingerprint(self) -> str:
        facts = np.array([facts_of(table.path.stat()) for table in self._tables])
        tables = FileSource(self._folder, self._paths, ItemTable.of(list(map(Item, self._paths))), facts)
        return digest_of("hugging face", tables.fingerprint(), *map(str, self.items))

    def open(self, index: int) -> Image.Image:
        place, row = self._rows[index]
        cell = self._tables[place].cell(self._columns.image, row)
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        if cell is not None and content is None:
            raise ValueError(f"its file '{cell.get('path')}' is not in the data set")
        if not content:
            raise EmptyFileError("the image holds no bytes")
        return open_image(io.BytesIO(content), str(cell.get("path") or "") if isinstance(cell, dict) else "")


def _of_one_configuration(where: str, folder: Path, paths: Sequence[Path]) -> Sequence[Path]:
    """The tables, which must be of one configuration of a data set."""
    tops = {path.relative_to(folder).parts[0] for path in paths if len(path.relative_to(folder).parts) > 1}
    named = sorted(top for top in tops if side_of(top) is None and top != "data")
    if len(named) > 1:
        raise UserError(f"'{where}' has several configurations ({', '.join(named)}); give the folder of one of them.")
    return paths


def _side(path: Path) -> Side | None:
    """The side of the split that a table is of: ``train-00000-of-00001.parquet``, ``test/data-0.arrow``."""
    words = [*path.parts[:-1], path.stem.partition("-")[0].partition(".")[0]]
    return next((side for word in reversed(words) if (side := side_of(word)) is not None), None)


def _columns(where: str, schema: Any, options: SourceOptions) -> _Columns:
    """The columns of images and labels, as ``datasets`` declares them, else by their types and names.

    Raises
    ------
    UserError
        If there is no column of images, or that of labels holds none.
    """
    import pyarrow as pa

    stored = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    declared: dict[str, Any] = stored.get("info", {}).get("features", {})
    images = [name for name in schema.names if declared.get(name, {}).get("_type") == "Image"] or [
        name for name in schema.names if may_hold_images(schema.field(name).type)
    ]
    if not images:
        raise UserError(f"'{where}' has no column of images (it has {', '.join(schema.names)}); give another data set.")
    labels = [name for name in schema.names if declared.get(name, {}).get("_type") == "ClassLabel"] or [
        name for name in LABELS if name in schema.names
    ]
    said = [
        f"{what} in the column '{found[0]}'" + f" (others: {', '.join(found[1:])})" * (len(found) > 1)
        for what, found in (("images", images), ("classes", labels))
        if found
    ]
    options.say(f"'{where}': tables with {' and '.join(said)}.")
    if not labels or options.unlabelled:
        return _Columns(images[0], None, None)
    kind = _element(schema.field(labels[0]).type)
    if pa.types.is_nested(kind) or (pa.types.is_floating(kind) and kind != schema.field(labels[0]).type):
        raise UserError(
            f"The column '{labels[0]}' of '{where}' holds {schema.field(labels[0]).type}, of which no class can be "
            "made; rename it, or give --unlabelled."
        )
    feature = declared.get(labels[0], {})
    names = feature.get("feature", feature).get("names")
    return _Columns(images[0], labels[0], tuple(map(printable, names)) if names else None)


def _indicators(values: Sequence[Any]) -> int:
    """Of how many labels vectors of 0 and 1 tell; 0 if these are lists of labels, of which none stands twice in one."""
    lists = [value for value in values if isinstance(value, list)]
    lengths = {len(value) for value in lists}
    twice = any(len({*value}) < len(value) for value in lists)
    return lengths.pop() if len(lengths) == 1 and twice and all(one in (0, 1) for v in lists for one in v) else 0


def _element(kind: Any) -> Any:
    """The type of what a type of lists holds; any other itself."""
    import pyarrow as pa

    lists = pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list
    return kind.value_type if any(is_of(kind) for is_of in lists) else kind


container = HuggingFace()
