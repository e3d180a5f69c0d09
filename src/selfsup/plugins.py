"""Plug-in files: methods, policies, sources, evaluators and executors from outside, one Python file each.

The file's name is the name of what it brings, as with ours; it may bring one of each kind. A study keeps a copy of
its plug-ins in ``plugins/``, from which workers, the nodes of a cluster and later runs load them, and refers to them in
its configuration by name and digest (``my_method.py@3f2a…``): what has changed is refused, not mixed.
"""

from __future__ import annotations

import hashlib
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from selfsup import registry
from selfsup.errors import UserError

#: Folder of a study with its plug-ins, and what the names of their modules begin with.
FOLDER, PACKAGE = "plugins", "selfsup_plugins"


@dataclass(frozen=True)
class Plugin:
    """A plug-in file as it was read."""

    path: Path
    content: bytes = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Plugin:
        """The plug-in at `path`.

        Raises
        ------
        UserError
            If it cannot be read, or cannot be called as it is.
        """
        if path.suffix != ".py" or not registry.is_name(name_of(path.name)):
            raise UserError(
                f"--plugin {path} has no name for a plug-in, which becomes the name of what it brings: small letters, "
                f"digits and _, then .py, and neither all nor auto; rename the file."
            )
        try:
            return cls(path, path.read_bytes())
        except OSError as error:
            raise UserError(f"--plugin {path} cannot be read ({error.strerror}); check the path.") from None

    @property
    def reference(self) -> str:
        """Name and digest: what a study's configuration says of it."""
        return f"{self.path.name}@{hashlib.blake2b(self.content, digest_size=8).hexdigest()}"

    def load(self) -> ModuleType:
        """Its module, run once in this process.

        Raises
        ------
        UserError
            If running it raises anything.
        """
        name = f"{PACKAGE}.{self.path.stem}"
        known = sys.modules.get(name)
        if known is not None and vars(known)["__reference__"] == self.reference:
            return known
        module = sys.modules[name] = ModuleType(name)
        vars(module).update(__file__=str(self.path), __reference__=self.reference)
        try:  # what was read, whatever has become of the file since
            exec(compile(self.content, self.path, "exec", dont_inherit=True), vars(module))
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise UserError(f"--plugin {self.path} cannot be imported ({_describe(error, self.path)}).") from error
        return module


_in_use: dict[str, Plugin] = {}


def plug_in(plugins: Iterable[Plugin]) -> None:
    """Let plug-ins bring what they define, to the end of this process.

    Raises
    ------
    UserError
        If one cannot be imported, defines nothing, or brings what somebody else brings too.
    """
    for plugin in plugins:
        module = plugin.load()
        kinds = [kind for kind in registry.KINDS if kind.group and registry.offered(kind, module)]
        if not kinds:
            raise UserError(
                f"--plugin {plugin.path} defines nothing that is known here: a subclass of Method, policy, "
                f"open_source, evaluator or executor."
            )
        origin = registry.Origin(f"the plug-in '{plugin.path.name}'", plugin.path.absolute, plugin.load)
        registry.plug_in(name_of(plugin.path.name), origin, kinds)
        _in_use[plugin.reference] = plugin


def plug_in_files(files: Iterable[str | Path]) -> tuple[str, ...]:
    """Read and plug in the files that a command names; what a configuration says of them.

    Raises
    ------
    UserError
        If one cannot be read, or as :func:`plug_in`, or if two have one name.
    """
    plugins = [Plugin.read(path) for path in dict.fromkeys(Path(file).expanduser().resolve() for file in files)]
    paths: dict[str, Path] = {}
    for plugin in plugins:
        other = paths.setdefault(name_of(plugin.path.name), plugin.path)
        if other != plugin.path:
            raise UserError(f"--plugin {other} and --plugin {plugin.path} have one name; rename one of the files.")
    plug_in(plugins)
    return tuple(plugin.reference for plugin in plugins)


def plug_in_kept(study: Path, references: Iterable[str]) -> None:
    """Plug in what the study in the folder `study` keeps.

    Raises
    ------
    UserError
        If one is gone or has changed, and as :func:`plug_in`.
    """
    kept = []
    for reference in references:
        plugin = Plugin.read(kept_in(study, reference))
        if plugin.reference != reference:
            raise UserError(
                f"'{plugin.path}' is not what it was when the study was begun, and mixing both would make its results "
                f"incomparable; bring the old one back, or choose another --out."
            )
        kept.append(plugin)
    plug_in(kept)


def kept_in(study: Path, reference: str) -> Path:
    """Where the study in the folder `study` keeps a plug-in."""
    return study / FOLDER / Path(reference.partition("@")[0]).name


def content_of(reference: str) -> bytes:
    """What a plug-in in use consists of, for the study to keep."""
    return _in_use[reference].content


def name_of(reference: str) -> str:
    """The name of what a plug-in brings, from its file's name or its reference."""
    return registry.to_name(Path(reference.partition("@")[0]).stem)


def changed(known: Iterable[str], given: Iterable[str]) -> list[str]:
    """Files of which `given` refers to other contents than `known`."""
    contents = dict(reference.split("@") for reference in known)
    pairs = (reference.split("@") for reference in given)
    return [file for file, digest in pairs if contents.get(file, digest) != digest]


def _describe(error: BaseException, path: Path) -> str:
    """What an error says, and the last line of the file that led to it."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = error.lineno if isinstance(error, SyntaxError) else (lines or [None])[-1]
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}{': ' * bool(said)}{said}{f', line {line}' if line else ''}"
