"""Where downloads and decoded images are kept between runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import platformdirs
from filelock import FileLock

from selfsup.data.audit import printable
from selfsup.errors import UserError

VARIABLE = "SELFSUP_CACHE"


def cache_root(cache_dir: Path | None = None) -> Path:
    """`cache_dir` if given, else ``$SELFSUP_CACHE``, else the user's cache folder."""
    if cache_dir is not None:
        return Path(cache_dir)
    from_environment = os.environ.get(VARIABLE)
    return Path(from_environment) if from_environment else platformdirs.user_cache_path("selfsup")


@contextlib.contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turn a full disk or a read-only folder into one sentence that says what to do.

    Raises
    ------
    UserError
        In place of any OSError in the block.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"Cannot write to the cache folder '{printable(str(folder))}': {error.strerror or error}; "
            f"make room there, or set the environment variable {VARIABLE} to another folder."
        ) from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, waiting for any other process that holds it.

    The system takes the lock from a process that dies, so whoever holds it may clean up.
    """
    with writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
