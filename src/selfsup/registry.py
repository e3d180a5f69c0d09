"""Finds implementations by looking: the file's name is the name in the configuration.

Of every kind of thing that can be extended there is a package with one module per implementation. A module
whose name begins with an underscore, or that is named ``base``, is shared machinery and not an implementation.
Other packages bring more by entry points, and a command by plug-in files (:mod:`selfsup.plugins`). Names are listed
without importing anything but plug-in files, which the user named.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from selfsup.errors import UserError

#: What may be a name: it stands in commands, in ids of cells and so in names of folders.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")

#: What means something else wherever a method or an augmentation is named.
_WORDS = ("all", "auto")


@dataclass(frozen=True)
class Kind:
    """A kind of thing that can be extended.

    Attributes
    ----------
    word : str
        What messages call one.
    package : str
        Where ours are.
    offers : str
        What a module has that holds one: the name of an attribute, or the class (``module:Class``) of which it
        defines one subclass.
    suffix : str
        How the files of ours end, in a package that holds other files too.
    group : str, optional
        The entry points by which other packages bring theirs. Without it, neither they nor plug-ins can.
    parts : tuple of str
        Attributes that one from outside must have, so that what is no such thing is refused before it is asked.
    """

    word: str
    package: str
    offers: str
    suffix: str = ""
    group: str | None = None
    parts: tuple[str, ...] = ()


# The packages stand here as text, and are imported when something in them is asked for: this module is below them all.
METHOD = Kind("method", "selfsup.methods", "selfsup.methods.base:Method", group="selfsup.methods")
POLICY = Kind(
    "augmentation",
    "selfsup.views",
    "policy",
    suffix="_policy",
    group="selfsup.policies",
    parts=("channels", "draw", "apply"),
)
SOURCE = Kind("data set", "selfsup.data.sources", "open_source", group="selfsup.sources", parts=("__call__",))
CONTAINER = Kind("container", "selfsup.data.sources.containers", "container")
EXECUTOR = Kind(
    "executor", "selfsup.execution.executors", "executor", group="selfsup.executors", parts=("Options", "run")
)
EVALUATOR = Kind(
    "evaluator", "selfsup.evaluation.evaluators", "evaluator", group="selfsup.evaluators", parts=("evaluate", "columns")
)
SCHEDULER = Kind("scheduler", "selfsup.execution.schedulers", "scheduler")
TRACKER = Kind("tracker", "selfsup.report.trackers", "tracker")
KINDS = (METHOD, POLICY, SOURCE, CONTAINER, EXECUTOR, EVALUATOR, SCHEDULER, TRACKER)


@dataclass(frozen=True)
class Origin:
    """Where an implementation comes from.

    Attributes
    ----------
    owner : str
        Who brings it, in words.
    file : callable
        Where its source is, found without importing it.
    load : callable
        Imports it: the implementation, or the module that holds it.
    """

    owner: str
    file: Callable[[], Path | None]
    load: Callable[[], Any]


_plugged: dict[str, tuple[Origin, frozenset[Kind]]] = {}


def plug_in(name: str, origin: Origin, kinds: Iterable[Kind]) -> None:
    """Let `origin` bring implementations of `kinds` under `name`, to the end of this process.

    Raises
    ------
    UserError
        If somebody else brings one of the same name, or one is not what it is to be.
    """
    _plugged[name] = origin, frozenset(kinds)
    for kind in kinds:
        load(kind, name)


def unplug() -> None:
    """Forget what was plugged in."""
    _plugged.clear()


def names(kind: Kind) -> list[str]:
    """Names of the implementations of a kind, sorted, without importing any of them."""
    return sorted({name for name, _ in _origins(kind)})


def ours(kind: Kind) -> list[str]:
    """Those that come with selfsup."""
    return sorted(name for name, _ in _ours(kind))


def load(kind: Kind, name: str) -> Any:
    """The implementation `name` of a kind: a class, a function or an object, as the kind has it.

    Raises
    ------
    UserError
        If there is no such implementation (the message lists those that exist), if two bring it, or if one from
        outside cannot be imported.
    """
    require([name], names(kind), kind=kind.word)
    origin = _origin(kind, name)
    loaded = origin.load()
    found = offered(kind, loaded) if isinstance(loaded, ModuleType) else [loaded]
    if len(found) != 1:
        raise UserError(f"{origin.owner} defines {len(found)} of what can be {kind.word} '{name}'; it must be one.")
    for part in kind.parts:
        if not hasattr(found[0], part):
            raise UserError(f"{origin.owner} brings no {kind.word} '{name}': {found[0]!r} has no '{part}'; mend it.")
    return found[0]


def offered(kind: Kind, module: ModuleType) -> list[Any]:
    """The implementations of a kind that a module holds; one, in a module that is made for it."""
    home, _, base = kind.offers.partition(":")
    if not base:
        return [getattr(module, home)] if hasattr(module, home) else []
    parent = getattr(importlib.import_module(home), base)
    return [
        value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, parent)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    ]


def first_line(kind: Kind, name: str) -> str:
    """What an implementation says of itself: the first paragraph of its file, which is read and not imported."""
    file = _origin(kind, name).file()
    docstring = ast.get_docstring(ast.parse(file.read_bytes())) if file else None
    return (docstring or "").split("\n\n")[0].replace("\n", " ")


def require(given: Iterable[str], known: Iterable[str], *, kind: str) -> None:
    """Refuse any name in `given` that is not in `known`, and suggest the nearest."""
    known = list(known)
    for name in given:
        if name not in known:
            near = nearest(name, known)
            hint = f" Did you mean '{near}'?" if near else ""
            raise UserError(f"Unknown {kind} '{name}'.{hint} Known: {', '.join(known)}.")


def nearest(name: str, known: Sequence[str]) -> str:
    """The known name that `name` was probably meant to be, such as one that it is a part of; empty if none is near."""
    near = difflib.get_close_matches(name, known, n=1)
    return next(iter(near or [other for other in known if len(name) > 1 and name in other]), "")


def to_name(identifier: str) -> str:
    """The name of what is called `identifier` in Python."""
    return identifier.replace("_", "-")


def is_name(text: str) -> bool:
    """Whether `text` can be the name of an implementation."""
    return _NAME.fullmatch(text) is not None and text not in _WORDS


def _origin(kind: Kind, name: str) -> Origin:
    first, *others = (origin for known, origin in _origins(kind) if known == name)
    if others:
        owners = " and ".join(origin.owner for origin in (first, *others))
        raise UserError(f"The {kind.word} '{name}' is brought by {owners}; rename one, or leave it out.")
    return first


def _origins(kind: Kind) -> Iterator[tuple[str, Origin]]:
    yield from _ours(kind)
    if kind.group:
        yield from _installed(kind.group)
    for name, (origin, kinds) in _plugged.items():
        if kind in kinds:
            yield name, origin


def _ours(kind: Kind) -> Iterator[tuple[str, Origin]]:
    root = Path(__file__).parent.joinpath(*kind.package.split(".")[1:])
    for found in pkgutil.iter_modules([str(root)]):
        name = found.name
        if name.endswith(kind.suffix) and name != "base" and not name.startswith("_") and not found.ispkg:
            module = f"{kind.package}.{name}"
            origin = Origin("selfsup", partial(_file_of, module), partial(importlib.import_module, module))
            yield to_name(name.removesuffix(kind.suffix)), origin


def _installed(group: str) -> Iterator[tuple[str, Origin]]:
    for entry in _entry_points(group, tuple(sys.path)):
        name, owner = to_name(entry.name), f"the package '{entry.dist.name if entry.dist else entry.value}'"
        if is_name(name):
            file = partial(_importing, owner, partial(_file_of, entry.module))
            yield name, Origin(owner, file, partial(_importing, owner, entry.load))


def _importing(owner: str, what: Callable[[], Any]) -> Any:
    """What `what` returns; whatever goes wrong in it is said in one sentence."""
    try:
        return what()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"What {owner} brings cannot be imported ({reason}); mend or uninstall it.") from error


def _file_of(module: str) -> Path | None:
    """The source file of a module, which is not imported (the packages around it are)."""
    found = importlib.util.find_spec(module)
    return Path(found.origin) if found and found.origin else None


@cache
def _entry_points(group: str, path: tuple[str, ...]) -> EntryPoints:
    """The entry points of a group, of the packages that are installed under `path`."""
    return entry_points(group=group)
