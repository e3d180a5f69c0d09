"""Sources of images: a folder, or a named data set with one module each."""

from __future__ import annotations

import difflib
import inspect
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from selfsup import registry
from selfsup.data.audit import AuditEntry, printable
from selfsup.data.cache import cache_root
from selfsup.data.sources._image_folder import FolderSource
from selfsup.data.sources._manifest import ManifestSource, find_manifest, no_manifest
from selfsup.data.sources._pooled import PooledSource
from selfsup.data.sources.base import Source, SourceOptions, silent
from selfsup.data.sources.containers import find_container
from selfsup.errors import UserError


def open_source(
    data: str,
    *,
    data_root: str | Path | None = None,
    data_url: str | None = None,
    unlabelled: bool = False,
    no_given_split: bool = False,
    pool: str | Path | None = None,
    manifest: str | Path | None = None,
    cache_dir: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Source:
    """Open a data set by name, or the images under a folder.

    Parameters
    ----------
    data : str
        Name of a data set (``digits``, ``cifar10``, …), or the path or address of a folder or of a container, see
        :mod:`selfsup.data.sources.containers`. A name wins over a folder of the same name, and that is said;
        ``./digits`` is the folder.
    data_root : path, optional
        Folder that already holds the named data set's files.
    data_url : str, optional
        Address or local zip in place of the published one.
    unlabelled : bool
        Leave the labels out.
    no_given_split : bool
        Take folders that are called as the sides of a split are for classes.
    pool : path, optional
        A folder of further images, without labels.
    manifest : path, optional
        A table of the images below the folder `data`.
    cache_dir : Path, optional
        Where downloads are kept; see :func:`selfsup.data.cache.cache_root`.
    say : callable, optional
        Takes a line of progress.

    Returns
    -------
    Source

    Raises
    ------
    UserError
        If there is no such data, it holds no image, or it cannot be downloaded.
    """
    options = SourceOptions(
        data_root=Path(data_root).expanduser() if data_root is not None else None,
        data_url=data_url,
        unlabelled=unlabelled,
        no_given_split=no_given_split,
        cache_dir=cache_root(cache_dir),
        say=say or silent,
    )
    source = _open_alone(data, options) if manifest is None else _open_listed(manifest, data, options)
    return source if pool is None else PooledSource(source, _open_pool(str(pool), options))


def require_there(data: str, *, pool: str | None = None, manifest: str | None = None) -> None:
    """Refuse a file or a folder that is not there, as :func:`open_source` would, without reading anything.

    Raises
    ------
    UserError
        Names it.
    """
    if manifest is not None and not Path(manifest).expanduser().exists():
        raise no_manifest(f"'{printable(manifest)}'")
    if data not in registry.names(registry.SOURCE) and find_container(data) is None:
        _existing_folder(data)
    if pool is not None and find_container(pool) is None:
        _existing_pool(pool)


def _open_alone(data: str, options: SourceOptions) -> Source:
    if data in registry.names(registry.SOURCE):
        if Path(data).is_dir():
            options.say(f"'{data}' means the data set of this name, not the folder beside it; ./{data} is the folder.")
        source: Source = registry.load(registry.SOURCE, data)(options)
        if inspect.getattr_static(source, "items", None) is None:  # which are not made yet
            raise UserError(
                f"The data set '{data}' gives no items, which took the place of names, labels and official_test; "
                "let it give them (see selfsup.data.sources.base.Source)."
            )
        return source
    options.refuse("data_root", "data_url", source=printable(data))
    container = find_container(data)
    if container is not None:
        return container.open_source(data, options)
    return _open_folder(_existing_folder(data), options)


def _open_folder(folder: Path, options: SourceOptions) -> Source:
    """The images of a folder; a table of them that lies in it is not read, and that is said."""
    table = None if options.unlabelled else find_manifest(folder)
    if table is None:
        return FolderSource(folder, unlabelled=options.unlabelled, no_given_split=options.no_given_split)
    hint = f"'{printable(table.name)}' names images, and is not read; --manifest {shlex.quote(str(table))} takes what "
    hint += "it says of them"
    try:
        source = FolderSource(folder, no_given_split=options.no_given_split, besides=table.name)
    except UserError as error:
        raise UserError(f"{error} {hint}.") from None
    source.ignored = [AuditEntry("*", "table", hint), *source.ignored]
    return source


def _open_listed(manifest: str | Path, data: str, options: SourceOptions) -> Source:
    if data in registry.names(registry.SOURCE) or find_container(data) is not None:
        raise UserError(
            f"--manifest names images below a folder, and '{printable(data)}' is none; leave one of them out."
        )
    options.refuse("data_root", "data_url", source=printable(data))
    return ManifestSource(Path(manifest).expanduser(), _existing_folder(data), unlabelled=options.unlabelled)


def _open_pool(pool: str, options: SourceOptions) -> Source:
    container = find_container(pool)
    if container is not None:
        return container.open_source(pool, replace(options, unlabelled=True))
    return FolderSource(_existing_pool(pool), unlabelled=True)


def _existing_pool(pool: str) -> Path:
    path = Path(pool).expanduser()
    if not path.is_dir():
        raise UserError(f"There is no folder '{printable(pool)}'; check the path given to --pool.")
    return path


def _existing_folder(data: str) -> Path:
    path = Path(data).expanduser()
    shown = printable(data)
    if path.is_dir():
        return path
    known = registry.names(registry.SOURCE)
    if path.exists():
        raise UserError(f"'{shown}' is a file; give a folder of images, a .zip or a .tar (unpack others first).")
    near = difflib.get_close_matches(data, known, n=1) or _similar_beside(path)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise UserError(
        f"'{shown}' is neither a folder nor a data set.{hint} Give a folder that exists, or one of: {', '.join(known)}."
    )


def _similar_beside(path: Path) -> list[str]:
    try:
        siblings = [entry.name for entry in path.parent.iterdir() if entry.is_dir()]
    except OSError:
        return []
    return [printable(str(path.parent / name)) for name in difflib.get_close_matches(path.name, siblings, n=1)]
