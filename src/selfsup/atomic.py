"""Files and folders that appear whole or not at all: a reader, or a crash, sees the old file or the new one.

Of a folder that is replaced, a reader may see neither for a moment, and a crash may leave neither.

What is to appear is written beside its place, flushed to the disk, and then given its name, which is flushed too. What
dies before that leaves a name with ``.partial`` in it, or a folder aside, and nothing in its place.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from selfsup.errors import UserError

#: How to mend what kept a study from being written.
REMEDY = "free some space or mend the folder, then run the same command again: nothing that was finished is lost"

#: Files that are flushed at a time: a disk takes many with one turn.
FLUSHES = 16


def replace_file(path: Path, content: bytes, *, private: bool = False) -> None:
    """Replace a file in one step; if `private`, by one that nobody but its owner may read.

    Raises
    ------
    UserError
        If the disk is full or the folder went away.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    mode = 0o600 if private else 0o666
    with writing_to(path):
        try:
            with open(partial, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
                file.write(content)
            publish_file(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def remove_partials(top: Path) -> None:
    """Remove what was left below a folder where :func:`replace_file` was killed, and nobody's else."""
    for path in top.rglob(".*.partial"):
        if re.fullmatch(r"\..+\.[0-9a-f]{32}\.partial", path.name):
            path.unlink(missing_ok=True)


def publish_file(partial: Path, path: Path) -> None:
    """Give a file that is complete its name, in place of one that has it."""
    _flush(partial)
    os.replace(partial, path)
    _flush_folder(path.parent)


@contextlib.contextmanager
def new_folder(path: Path, aside: Path | None = None, remedy: str = REMEDY) -> Iterator[Path]:
    """A folder to fill, which takes the place of `path` when the block has ended, and is gone if it failed.

    Parameters
    ----------
    path : Path
        May exist: it is then replaced; for a moment there is none, and a crash leaves it, the new one or none.
    aside : Path, optional
        Where to fill it, on the same file system; beside `path` by default. What was left there is removed.
    remedy : str
        As for :func:`writing_to`.

    Raises
    ------
    UserError
        If the folder cannot be made or published; what the block raises is the block's.
    """
    aside = aside or path.with_name(f".{path.name}.aside")
    old = aside.with_name(f"{aside.name}.old")
    with writing_to(path, remedy):
        for left in (aside, old):
            shutil.rmtree(left, ignore_errors=True)
        aside.mkdir(parents=True)
    try:
        yield aside
        with writing_to(path, remedy):
            _flush_tree(aside)
            if path.exists():
                path.rename(old)
            aside.rename(path)
            _flush_folder(path.parent)
    finally:
        for left in (aside, old):
            shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def writing_to(path: Path, remedy: str = REMEDY) -> Iterator[None]:
    """Say what a full disk, or a folder that went away, means for the user.

    Raises
    ------
    UserError
        In place of any OSError in the block.
    """
    try:
        yield
    except OSError as error:
        shown = str(path).encode(errors="backslashreplace").decode()
        raise UserError(f"'{shown}' cannot be written ({error.strerror or error}); {remedy}.") from None


def _flush_tree(top: Path) -> None:
    for folder, _, files in os.walk(top):
        with ThreadPoolExecutor(FLUSHES) as pool:
            for flushed in [pool.submit(_flush, Path(folder, name)) for name in files]:
                flushed.result()
        _flush_folder(Path(folder))


def _flush(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    """Flush a folder's list of names, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
