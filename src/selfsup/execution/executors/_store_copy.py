"""Brings the decoded images to a node that does not see them, once per node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from selfsup.atomic import new_folder, writing_to
from selfsup.data.cache import REMEDY, cache_root, locked
from selfsup.data.store import Store, find_store, open_store

#: Bytes that travel at a time.
PIECE = 16 * 2**20


class StoreReader:
    """Reads the files of a store in pieces, where the store is.

    Parameters
    ----------
    path : str
        The store's folder.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def files(self) -> dict[str, int]:
        """Size in bytes of every file of the store."""
        return {path.name: path.stat().st_size for path in self._path.iterdir() if path.is_file()}

    def read(self, name: str, offset: int) -> bytes:
        """The piece of a file that begins at `offset`."""
        with open(self._path / name, "rb") as file:
            file.seek(offset)
            return file.read(PIECE)


def store_on_this_node(path: Path, files: Callable[[], dict[str, int]], read: Callable[[str, int], bytes]) -> Store:
    """A copy of the store at `path` in this node's cache, made if there is none.

    Parameters
    ----------
    path : Path
        Where the store is on the machine that has it.
    files, read : callable
        :class:`StoreReader`'s, on that machine.

    Raises
    ------
    UserError
        If this node's disk has no room for it.
    """
    target = cache_root() / "copies" / path.name
    with locked(target.with_name(target.name + ".lock")):
        found = find_store(target)
        if found is None:
            _copy(target, files(), read)
    return found or open_store(target)


def _copy(target: Path, files: dict[str, int], read: Callable[[str, int], bytes]) -> None:
    with writing_to(target, REMEDY), new_folder(target, remedy=REMEDY) as aside:
        for name, size in files.items():
            with open(aside / name, "wb") as file:
                file.writelines(_pieces(name, size, read))


def _pieces(name: str, size: int, read: Callable[[str, int], bytes]) -> Iterator[bytes]:
    return (read(name, offset) for offset in range(0, size, PIECE))
