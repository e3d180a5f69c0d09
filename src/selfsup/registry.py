"""Finds implementations by looking: the file's name is the name in the configuration.

Every kind of thing that can be extended (a method, an augmentation policy, a dataset source,
an executor) is a package with one module per implementation. A module whose name begins with
an underscore, or that is named ``base``, is shared machinery and not an implementation. Policies
are the files of ``views/`` that end in ``_policy``, beside the operations that they are made of.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from selfsup.errors import UserError

#: Of packages that hold more than implementations, how the files of these end.
SUFFIXES = {"selfsup.views": "_policy"}


def names(package: str) -> list[str]:
    """Names of the implementations in `package`, sorted, without importing any of them.

    Parameters
    ----------
    package : str
        Dotted name of a package inside selfsup, for example ``"selfsup.methods"``.
    """
    root = Path(__file__).parent.joinpath(*package.split(".")[1:])
    suffix = SUFFIXES.get(package, "")
    found = (module.name for module in pkgutil.iter_modules([str(root)]) if not module.ispkg)
    return sorted(
        _to_name(name.removesuffix(suffix))
        for name in found
        if name.endswith(suffix) and name != "base" and not name.startswith("_")
    )


def load(package: str, name: str, *, kind: str) -> ModuleType:
    """Import the implementation `name` of `package`.

    Raises
    ------
    UserError
        If there is no such implementation; the message lists those that exist.
    """
    require([name], names(package), kind=kind)
    return importlib.import_module(module_name(package, name))


def module_name(package: str, name: str) -> str:
    """Dotted name of the module of the implementation `name` of `package`."""
    return f"{package}.{name.replace('-', '_')}{SUFFIXES.get(package, '')}"


def require(given: Iterable[str], known: Iterable[str], *, kind: str) -> None:
    """Refuse any name in `given` that is not in `known`, and suggest the nearest."""
    known = list(known)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise UserError(f"Unknown {kind} '{name}'.{hint} Known: {', '.join(known)}.")


def _to_name(module: str) -> str:
    return module.replace("_", "-")
