"""Finds implementations by looking: the file's name is the name in the configuration.

Every kind of thing that can be extended (a method, an augmentation policy, a dataset source,
an executor) is a package with one module per implementation. A module whose name begins with
an underscore, or that is named ``base``, is shared machinery and not an implementation.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from selfsup.errors import UserError


def names(package: str) -> list[str]:
    """Names of the implementations in `package`, sorted, without importing any of them.

    Parameters
    ----------
    package : str
        Dotted name of a package inside selfsup, for example ``"selfsup.methods"``.
    """
    root = Path(__file__).parent.joinpath(*package.split(".")[1:])
    found = (module.name for module in pkgutil.iter_modules([str(root)]))
    return sorted(_to_name(name) for name in found if name != "base" and not name.startswith("_"))


def load(package: str, name: str, *, kind: str) -> ModuleType:
    """Import the implementation `name` of `package`.

    Raises
    ------
    UserError
        If there is no such implementation; the message lists those that exist.
    """
    require([name], names(package), kind=kind)
    return importlib.import_module(f"{package}.{name.replace('-', '_')}")


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
