"""What `selfsup list` shows: everything there is to choose from, a line each."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import filter as matching

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
    """What there is of one of :data:`CHOICES`; of names that match `pattern`."""
    if choice == "methods":
        yield from _methods(pattern)
    elif choice == "backbones":
        from selfsup.backbones import list_backbones

        yield from list_backbones(pattern)
    elif choice == "presets":
        for name in matching(list_presets(), pattern):
            yield f"{name:12} {read_toml(PRESETS / f'{name}.toml')['description']}"
    else:
        kind = DESCRIBED[choice]
        for name in matching(registry.names(kind), pattern):
            yield f"{name:16} {registry.first_line(kind, name)}"


def _methods(pattern: str) -> Iterator[str]:
    """Methods, their papers, what they need and what a step of them costs."""
    from selfsup.cli.method_text import describe_cost, describe_needs
    from selfsup.methods import method_class, method_names

    for name in matching(method_names(), pattern):
        cls = method_class(name)
        if cls.tags.of_references:  # which --references brings
            continue
        yield f"{name:12} {registry.first_line(registry.METHOD, name)}"
        yield f"{'':12} {getattr(cls, 'paper', '(no paper is named)')}"
        cost = "a step's cost is not stated" if cls.cost is None else f"a step costs {describe_cost(cls)} of SimCLR's"
        yield f"{'':12} Needs: {describe_needs(cls)}{f'; {cost}' * cls.tags.trains}."
