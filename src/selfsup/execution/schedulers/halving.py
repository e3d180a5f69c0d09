"""Successive halving: all trainings to the first rung, the best third to the next, and so on.

Jamieson & Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
algorithm 1, with rungs by epochs. It waits at every rung for the slowest, and in return decides the
same however many workers there are, and however often it is interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from selfsup.config.grid import Job
from selfsup.config.schema import StudyConfig
from selfsup.execution.schedulers.base import Record, Scheduler, Setting, group_of, left_to_do, rungs_of, setting_of
from selfsup.record.folder import StudyFolder
from selfsup.record.results import PRUNED


class Halving(Scheduler):
    """Compares settings by their mean over the seeds, so that the seeds of a setting stay together.

    Every decision follows from what is recorded: nothing else is remembered between two rounds.
    """

    def __init__(self, config: StudyConfig, folder: StudyFolder) -> None:
        self.rungs = rungs_of(config)

    def next_round(self, jobs: Sequence[Job], records: Mapping[str, Record]) -> list[Job]:
        groups: dict[str, dict[Setting, list[Job]]] = {}
        for job in jobs:
            groups.setdefault(group_of(job), {}).setdefault(setting_of(job), []).append(job)
        wanted = {job.id: job for settings in groups.values() for job in self._next_of(settings, records)}
        return [wanted[job.id] for job in jobs if job.id in wanted]

    def _next_of(self, settings: Mapping[Setting, list[Job]], records: Mapping[str, Record]) -> list[Job]:
        """What the trainings of one group are to do next."""
        alive = list(settings)
        for rung in self.rungs:
            if len(alive) == 1:
                break
            behind = [job for setting in alive for job in settings[setting] if _epochs(job, records) < rung]
            if behind:
                return [replace(left, until=rung) for left in left_to_do(behind, records)]
            alive = self._best({setting: _score(settings[setting], rung, records) for setting in alive})
        going = (job for s in settings for job in settings[s] if s in alive or _begun_to_end(job, records))
        return left_to_do(going, records) or self._second_choice(settings, records)

    def _second_choice(self, settings: Mapping[Setting, list[Job]], records: Mapping[str, Record]) -> list[Job]:
        """Where all that went on collapsed or diverged, the trainings of the setting that came next."""
        if any(_begun_to_end(job, records) for jobs in settings.values() for job in jobs):
            return []
        stopped = {setting: left for setting, jobs in settings.items() if (left := left_to_do(jobs, records))}
        for rung in sorted(self.rungs, reverse=True):
            scores = {setting: _score(settings[setting], rung, records) for setting in stopped}
            order = _ranked({setting: score for setting, score in scores.items() if score not in (None, -math.inf)})
            if order:
                return stopped[order[0]]
        return []

    def _best(self, scores: Mapping[Setting, float | None]) -> list[Setting]:
        """Those that go on: the best of those with a score, and those that finished without ever being compared."""
        order = _ranked({setting: score for setting, score in scores.items() if score is not None})
        going = {*order[: self.rungs.kept(len(order))], *(s for s, score in scores.items() if score is None)}
        return [setting for setting in scores if setting in going]

    def compares_at(self, job: Job, epoch: int) -> bool:
        return epoch == job.until

    def goes_on(self, job: Job, epoch: int, score: float) -> bool:
        return False  # the others have yet to come here

    def share(self, candidates: int) -> float:
        return self.rungs.share(candidates)


scheduler = Halving


def _ranked(scores: Mapping[Setting, float]) -> list[Setting]:
    """Best first; equals as in the report: the smaller learning rate, then the augmentation first in the alphabet."""
    return sorted(scores, key=lambda setting: (-round(scores[setting], 12), setting[1], setting[0]))


def _begun_to_end(job: Job, records: Mapping[str, Record]) -> bool:
    """Whether cells were added to a shared training after it had finished: it is finished again for them."""
    return any(records.get(cell.id, Record()).status == "done" for cell in job.cells)


def _epochs(job: Job, records: Mapping[str, Record]) -> float:
    """How far a training has come: to its end if that is all it will do, whatever came of it."""
    found = [records.get(cell.id, Record()) for cell in job.cells]
    if _begun_to_end(job, records) or all(record.over for record in found):
        return math.inf
    return min(record.epochs if record.status == PRUNED else 0 for record in found)


def _score(jobs: Sequence[Job], rung: int, records: Mapping[str, Record]) -> float | None:
    """Mean score of a setting over its seeds; minus infinity if one came to nothing, None if none was compared."""
    scores = []
    for job in jobs:
        found = [records[cell.id] for cell in job.cells if cell.id in records]
        known = [record.scores[rung] for record in found if rung in record.scores]
        if known:
            scores.append(float(np.mean(known)))
        elif not any(record.status == "done" for record in found):
            return -math.inf
    return float(np.mean(scores)) if scores else None
