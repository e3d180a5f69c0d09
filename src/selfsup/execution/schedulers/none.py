"""None: every training goes on to its last epoch."""

from __future__ import annotations

from selfsup.execution.schedulers.base import Scheduler


class NoScheduler(Scheduler):
    """Runs all that is not finished, trainings that a scheduler had stopped early included."""


scheduler = NoScheduler
