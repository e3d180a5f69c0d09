"""What `plan` prints: time and disk, what is decided for this machine, and the cells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from selfsup.data.audit import quoted, summarize
from selfsup.execution.estimate import Plan
from selfsup.execution.words import counted, format_bytes, format_duration

#: How many classes are named, and cells.
NAMED, NAMED_CELLS = 3, 12


def show_plan(made: Plan, as_json: bool) -> None:
    """Print a plan."""
    if as_json:
        click.echo(json.dumps(_plan_values(made), indent=1))
        return
    chosen = made.budget.sentences if made.budget else ()
    for line in (_summary(made), *chosen, *made.grid.notices, made.resources.hardware.reason, *_observations(made)):
        if line:
            click.echo(line)
    for cell in made.grid.cells[:NAMED_CELLS]:
        click.echo(f"{cell.id}{'  finished' * (cell.id in made.finished)}{'  pruned' * (cell.id in made.stopped)}")
    if len(made.grid.cells) > NAMED_CELLS:
        click.echo(f"… and {counted(len(made.grid.cells) - NAMED_CELLS, 'more cell')}; --json lists all.")


def _plan_values(made: Plan) -> dict[str, Any]:
    resources = made.resources
    return {
        "cells": [cell.id for cell in made.grid.cells],
        "finished": [cell.id for cell in made.grid.cells if cell.id in made.finished],
        "pruned": [cell.id for cell in made.grid.cells if cell.id in made.stopped],
        "trainings": len(made.grid.jobs),
        "images": made.images,
        "classes": list(made.classes),
        "image_size": made.config.side,
        "device": resources.hardware.device,
        "precision": resources.hardware.precision,
        "workers": resources.workers,
        "threads": resources.threads,
        "seconds": made.seconds,
        **(made.budget.notes if made.budget else {}),
        "bytes": made.bytes,
        "store_bytes": made.store_bytes,
    }


def _observations(made: Plan) -> list[str]:
    """What was noticed in the images, and how closely they were looked at."""
    lines = summarize(made.audit)
    some = "" if made.opened == made.images else f", and only {made.opened:,} of {made.images:,} were opened"
    return [*lines, f"No image was decoded for these observations{some}."] if lines else []


def _summary(made: Plan) -> str:
    """What is finished, what is left, how long it takes and how much disk."""
    resources, finished, stopped = made.resources, len(made.finished), len(made.stopped)
    left = len(made.grid.cells) - finished - stopped
    before = f"{finished} finished, " * bool(finished or stopped)
    before += f"{stopped} stopped early (pruned), " * bool(stopped)
    if left or (made.budget and stopped):
        work = f"about {format_duration(made.seconds)} with {counted(resources.workers, 'worker')} of "
        work += counted(resources.threads, "thread")
        work = f"{before}{left} left; {work} for {'those' if left else 'their end'}" if before else work
    else:
        work = f"{before if stopped else 'all finished, '}nothing left to do"
    return (
        f"{counted(len(made.grid.cells), 'cell')} of {counted(made.images, 'image')}{_classes(made.classes)} in views "
        f"of {made.config.side} px: {work}; "
        f"about {format_bytes(made.bytes)} for the study and at most {format_bytes(made.store_bytes)} for the "
        f"decoded images."
    )


def _classes(names: Sequence[str]) -> str:
    """How many classes there are, and the first of them."""
    first = ", ".join(map(quoted, names[:NAMED]))
    return f" of {len(names):,} classes ({first}{', …' * (len(names) > NAMED)})" if names else ""
