"""Schedulers: which trainings go on to their last epoch, and which are stopped early."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from selfsup import registry
from selfsup.config.grid import Job
from selfsup.config.schema import StudyConfig
from selfsup.execution.schedulers.base import Record, Scheduler, left_to_do
from selfsup.record.folder import StudyFolder


def load_scheduler(config: StudyConfig, folder: StudyFolder) -> Scheduler:
    """The scheduler of a study.

    Raises
    ------
    UserError
        If there is no such scheduler, or a package that it needs is missing.
    """
    made: Scheduler = registry.load(registry.SCHEDULER, config.scheduler)(config, folder)
    return made


def share_of(config: StudyConfig, folder: StudyFolder) -> float:
    """Epochs that a study's scheduler runs, as a share of those that all trainings would take, by expectation."""
    return load_scheduler(config, folder).share(len(config.augmentations) * len(config.lrs))


def jobs_ahead(
    config: StudyConfig, folder: StudyFolder, jobs: Sequence[Job], records: Mapping[str, Record]
) -> list[Job]:
    """Those of a grid's jobs that a command begins with, without their finished cells.

    What was stopped early is among them only under a budget, which may have time left for it.
    """
    return left_to_do(jobs, records) if config.budget else load_scheduler(config, folder).next_round(jobs, records)
