"""What parent and worker say to each other: one JSON object per line."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from selfsup.config.grid import Cell, Job


def encode(message: dict[str, Any]) -> bytes:
    """A message as one line."""
    return json.dumps(message).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The message in one line."""
    message: dict[str, Any] = json.loads(line)
    return message


def job_to_dict(job: Job) -> dict[str, Any]:
    """A job as plain values."""
    return {"cells": [asdict(cell) for cell in job.cells], "shared": job.shared, "until": job.until, "fused": job.fused}


def job_from_dict(values: dict[str, Any]) -> Job:
    """The job that :func:`job_to_dict` wrote."""
    return Job(tuple(Cell(**cell) for cell in values["cells"]), values["shared"], values["until"], values["fused"])
