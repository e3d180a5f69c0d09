"""Where downloads and decoded images are kept between runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import platformdirs
from filelock import FileLock

from selfsup.atomic import writing_to

VARIABLE = "SELFSUP_CACHE"
#: How to mend what kept the cache from being written to.
REMEDY = f"make room there, or set the environment variable {VARIABLE} to another folder"


def cache_root(cache_dir: Path | None = None) -> Path:
    """`cache_dir` if given, else ``$SELFSUP_CACHE``, else the user's cache folder."""
    if cache_dir is not None:
        return Path(cache_dir)
    from_environment = os.environ.get(VARIABLE)
    return Path(from_environment) if from_environment else platformdirs.user_cache_path("selfsup")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, waiting for any other process that holds it.

    The system takes the lock from a process that dies, so whoever holds it may clean up.
    """
    with writing_to(path.parent, REMEDY):
        path.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(path).acquire()
    with held:
        yield
