"""Schedulers: which trainings go on to their last epoch, and which are stopped early."""

from __future__ import annotations

from selfsup import registry
from selfsup.config.schema import StudyConfig
from selfsup.execution.schedulers.base import Record, Rungs, Scheduler, read_records, read_scores, rungs_of
from selfsup.record.folder import StudyFolder

__all__ = [
    "Record",
    "Rungs",
    "Scheduler",
    "load_scheduler",
    "read_records",
    "read_scores",
    "rungs_of",
    "scheduler_names",
]


def scheduler_names() -> list[str]:
    """Names of the schedulers, sorted."""
    return registry.names(registry.SCHEDULER)


def load_scheduler(config: StudyConfig, folder: StudyFolder) -> Scheduler:
    """The scheduler of a study.

    Raises
    ------
    UserError
        If there is no such scheduler, or a package that it needs is missing.
    """
    made: Scheduler = registry.load(registry.SCHEDULER, config.scheduler)(config, folder)
    return made
