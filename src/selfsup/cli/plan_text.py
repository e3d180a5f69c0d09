"""What `plan` prints: the cells, what is decided for this machine, time and disk."""

from __future__ import annotations

import json
from typing import Any

import click

from selfsup.data.audit import summarize
from selfsup.execution.estimate import Plan
from selfsup.execution.words import counted, format_bytes, format_duration


def show_plan(made: Plan, as_json: bool) -> None:
    """Print a plan."""
    if as_json:
        click.echo(json.dumps(_plan_values(made), indent=1))
        return
    for cell in made.grid.cells:
        click.echo(f"{cell.id}{'  finished' * (cell.id in made.finished)}")
    chosen = made.budget.sentences if made.budget else ()
    for line in (*chosen, *made.grid.notices, made.resources.hardware.reason, *_observations(made), _summary(made)):
        if line:
            click.echo(line)


def _plan_values(made: Plan) -> dict[str, Any]:
    resources = made.resources
    return {
        "cells": [cell.id for cell in made.grid.cells],
        "finished": [cell.id for cell in made.grid.cells if cell.id in made.finished],
        "trainings": len(made.grid.jobs),
        "images": made.images,
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
    resources, left = made.resources, len(made.grid.cells) - len(made.finished)
    workers = f"{counted(resources.workers, 'worker')} of {counted(resources.threads, 'thread')}"
    if left:
        work = f"about {format_duration(made.seconds)} with {workers}"
        work = f"{len(made.finished)} finished, {left} left; {work} for those" if made.finished else work
    else:
        work = "all finished, nothing left to do"
    return (
        f"{counted(len(made.grid.cells), 'cell')} of {counted(made.images, 'image')} in views of "
        f"{made.config.side} px: {work}; "
        f"about {format_bytes(made.bytes)} for the study and at most {format_bytes(made.store_bytes)} for the "
        f"decoded images."
    )
