"""Numbers, durations, sizes and files that were set aside, as people say them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selfsup.data.audit import AuditEntry

#: Problems of files that a study does without, one entry per file.
SET_ASIDE = ("unreadable", "empty", "no class")


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 cell, 54 cells."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def describe_set_aside(audit: Iterable[AuditEntry], where: str | Path) -> str:
    """How many files a study does without, and `where` that was seen; empty where there are none."""
    entries = list(audit)
    parts = []
    problems = Counter(entry.problem for entry in entries if entry.problem in SET_ASIDE)
    if problems:
        reasons = ", ".join(f"{number} {problem}" for problem, number in problems.most_common())
        parts.append(f"{counted(problems.total(), 'file')} set aside ({reasons})")
    others = [entry.path for entry in entries if entry.problem == "ignored"]
    if others:
        parts.append(f"not taken for images: {', '.join(others[:5])}{', …' * (len(others) > 5)}")
    return f"{'; '.join(parts)}: {where}" if parts else ""


def format_duration(seconds: float) -> str:
    """A duration as people say it: 45 s, 12 min, 3 h 20 min, 2 d 4 h."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def format_bytes(count: float) -> str:
    """A size as people say it: 3 MB, 1.2 GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{math.ceil(count / 1e6)} MB"
