"""ASHA: a training that comes to a rung is compared with those that came there before, and waits for nobody.

Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning" (MLSys), as Optuna's
SuccessiveHalvingPruner has it, which stops trainings rather than resuming them later. Which come
first depends on the number and speed of the workers, and so do the decisions.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from selfsup.config.grid import Job
from selfsup.config.schema import StudyConfig
from selfsup.errors import UserError
from selfsup.execution.schedulers.base import Record, Scheduler, group_of, left_to_do, rungs_of
from selfsup.record.folder import StudyFolder
from selfsup.record.results import PRUNED

#: The study's file in which Optuna keeps what was compared with what.
JOURNAL = "asha.log"


class Asha(Scheduler):
    """Compares settings by their first seed; the others are stopped where that one was.

    So the seeds of a setting stay together as far as the order of their trainings allows: a seed that
    comes to a rung before the first was stopped goes on.
    """

    resumes: ClassVar[bool] = False

    def __init__(self, config: StudyConfig, folder: StudyFolder) -> None:
        _optuna()
        self.rungs, self.folder = rungs_of(config), folder
        self._settings = len(config.augmentations) * len(config.lrs)

    def next_round(self, jobs: Sequence[Job], records: Mapping[str, Record]) -> list[Job]:
        return [job for job in left_to_do(jobs, records) if not _stopped(job, records)]

    def compares_at(self, job: Job, epoch: int) -> bool:
        return self._settings > 1 and epoch in self.rungs

    def goes_on(self, job: Job, epoch: int, score: float) -> bool:
        cell = job.cells[0]
        if cell.seed > 0:
            return self.folder.metrics(replace(cell, seed=0).id).get("status") != PRUNED
        return _Trial(self._study(group_of(job)), job.id).goes_on(epoch, score)

    def share(self, candidates: int) -> float:
        return self.rungs.share(candidates)

    def _study(self, group: str) -> Any:
        """Optuna's study of the trainings of one group, shared by all processes."""
        optuna = _optuna()
        backend = optuna.storages.journal.JournalFileBackend(str(self.folder.path / JOURNAL))
        return optuna.create_study(
            study_name=group,
            storage=optuna.storages.JournalStorage(backend),
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.SuccessiveHalvingPruner(
                min_resource=self.rungs.first, reduction_factor=self.rungs.factor
            ),
        )


scheduler = Asha


class _Trial:
    """Optuna's trial of one training, found again where the training was interrupted."""

    def __init__(self, study: Any, job_id: str) -> None:
        self._optuna, self._study = _optuna(), study
        known = [trial for trial in study.get_trials(deepcopy=False) if trial.user_attrs.get("job") == job_id]
        self._stopped = any(trial.state == self._optuna.trial.TrialState.PRUNED for trial in known)
        if known:
            self._trial = self._optuna.trial.Trial(study, known[-1]._trial_id)
        else:
            self._trial = study.ask()
            self._trial.set_user_attr("job", job_id)

    def goes_on(self, epoch: int, score: float) -> bool:
        """Report the score and heed the pruner; what it has once decided stays."""
        if self._stopped:
            return False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a score that was reported before an interruption
            self._trial.report(score, epoch)
        if not self._trial.should_prune():
            return True
        self._study.tell(self._trial, state=self._optuna.trial.TrialState.PRUNED)
        return False


def _stopped(job: Job, records: Mapping[str, Record]) -> bool:
    return all(records.get(cell.id, Record()).status == PRUNED for cell in job.cells)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UserError("--scheduler asha needs Optuna, which is not installed; pip install 'selfsup[tune]'.") from None
    optuna.logging.get_logger("optuna").setLevel(logging.ERROR)
    return optuna
