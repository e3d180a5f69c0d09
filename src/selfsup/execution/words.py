"""Numbers, durations and sizes, as people say them."""

from __future__ import annotations

import math


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 cell, 54 cells."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def finished_before(finished: str, stopped: int) -> str:
    """What earlier runs have finished, and how many cells a scheduler has stopped early and does not go on with."""
    return f"{finished} finished before{f' and {stopped} stopped early (pruned)' * bool(stopped)}"


def listed(names: list[str]) -> str:
    """``a``, ``a and b``, or ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


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
