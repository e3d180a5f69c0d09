"""Files of Parquet and Arrow, of which single rows are read without the whole of them in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from selfsup.data.audit import printable
from selfsup.errors import UserError

SUFFIXES = (".parquet", ".arrow")
#: Groups of rows of a Parquet file that are held in memory.
HELD = 3


class ImageTable(Protocol):
    """A file of rows.

    Attributes
    ----------
    path : Path
    schema : pyarrow.Schema
    count : int
        Rows.
    """

    path: Path
    schema: Any
    count: int

    def column(self, name: str) -> list[Any]:
        """All values of a column."""

    def cell(self, name: str, row: int) -> Any:
        """One value of a column; from any thread."""


def open_table(path: Path) -> ImageTable:
    """The table in a file.

    Raises
    ------
    UserError
        If it is none, or is damaged.
    """
    import pyarrow as pa

    try:
        return _ParquetTable(path) if path.suffix == ".parquet" else _ArrowTable(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"'{printable(str(path))}' cannot be read as a table ({reason}); get it anew.") from None


def may_hold_images(type_: Any) -> bool:
    """Whether a column of this type of Arrow is as encoded images are stored: bytes, or bytes and a path."""
    import pyarrow as pa

    struct = pa.types.is_struct(type_) and {field.name for field in type_} >= {"bytes", "path"}
    return struct or pa.types.is_binary(type_) or pa.types.is_large_binary(type_)


class _ArrowTable:
    """A memory-mapped table of Arrow, in the stream format that ``datasets`` writes, or the file format."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self.path = path
        try:
            self._rows: Any = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
        except pa.ArrowInvalid:
            self._rows = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        self.schema: Any = self._rows.schema
        self.count: int = self._rows.num_rows

    def column(self, name: str) -> list[Any]:
        values: list[Any] = self._rows.column(name).to_pylist()
        return values

    def cell(self, name: str, row: int) -> Any:
        return self._rows.column(name)[row].as_py()


class _ParquetTable:
    """A Parquet file, whose rows are read group by group; the groups read last are kept."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self.path = path
        self._file: Any = pq.ParquetFile(path)
        self.schema: Any = self._file.schema_arrow
        self.count: int = self._file.metadata.num_rows
        groups = range(self._file.num_row_groups)
        self._ends = np.cumsum([self._file.metadata.row_group(group).num_rows for group in groups])
        self._held: OrderedDict[tuple[str, int], Any] = OrderedDict()
        self._lock = threading.Lock()

    def column(self, name: str) -> list[Any]:
        values: list[Any] = self._file.read(columns=[name]).column(name).to_pylist()
        return values

    def cell(self, name: str, row: int) -> Any:
        group = int(np.searchsorted(self._ends, row, side="right"))
        with self._lock:
            if (name, group) not in self._held:
                self._held[name, group] = self._file.read_row_group(group, columns=[name]).column(name)
                if len(self._held) > HELD:
                    self._held.popitem(last=False)
            column = self._held[name, group]
        return column[row - (int(self._ends[group - 1]) if group else 0)].as_py()
