"""Folders among a user's images that hold no images of theirs: what systems leave there, and what selfsup writes."""

from __future__ import annotations

from collections.abc import Set

#: Names, in lower case, of folders that systems make: previews, waste bins, what is left of an archive or a repair.
RUBBISH = frozenset({
    "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", "$recycle.bin", "recycler",
    "system volume information", "__macosx", "network trash folder", "temporary items", "lost+found", "__pycache__",
})  # fmt: skip
#: What folders of selfsup hold, by which they are known wherever they lie; a study also before it has begun.
OWN = (
    ("a study", {"config.toml", "cells"}),
    ("a study", {"cells", "running"}),
    ("a cell of a study", {"config.json", "metrics.json"}),
    ("a store of decoded images", {"pixels.bin", "index.npz", "meta.json"}),
    ("a model", {"backbone.safetensors"}),
    ("a report", {"report.md", "report-figures"}),
    ("a report", {"report.html", "assets"}),
)


def is_left_by_a_system(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or what a system leaves."""
    return name.startswith(".") or name.lower() in RUBBISH


def own_kind(names: Set[str]) -> str | None:
    """What a folder with entries of these names is, if selfsup has written it."""
    return next((kind for kind, marks in OWN if marks <= names), None)
