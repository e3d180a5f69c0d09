"""What `selfsup list` shows: everything there is to choose from, a line each."""

from __future__ import annotations

from collections.abc import Iterator

from selfsup import registry
from selfsup.config.toml_files import PRESETS, list_presets, read_toml

#: What is described by its file alone, which is not imported.
DESCRIBED = {
    "augmentations": registry.POLICY,
    "datasets": registry.SOURCE,
    "evaluators": registry.EVALUATOR,
    "executors": registry.EXECUTOR,
    "schedulers": registry.SCHEDULER,
    "trackers": registry.TRACKER,
}
CHOICES = ("methods", "backbones", "presets", *DESCRIBED)


def lines(choice: str, pattern: str) -> Iterator[str]:
    """What there is of one of :data:`CHOICES`; `pattern` narrows the backbones."""
    if choice == "methods":
        yield from _methods()
    elif choice == "backbones":
        from selfsup.backbones import list_backbones

        yield from list_backbones(pattern)
    elif choice == "presets":
        for name in list_presets():
            yield f"{name:12} {read_toml(PRESETS / f'{name}.toml')['description']}"
    else:
        kind = DESCRIBED[choice]
        for name in registry.names(kind):
            yield f"{name:16} {registry.first_line(kind, name)}"


def _methods() -> Iterator[str]:
    """Methods and their papers."""
    from selfsup.methods import method_class, method_names

    for name in method_names():
        paper = getattr(method_class(name), "paper", "(no paper is named)")
        yield f"{name:12} {registry.first_line(registry.METHOD, name)}\n{'':12} {paper}"
