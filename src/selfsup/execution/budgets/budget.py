"""What fits into a budget of time: the jobs of a grid in the order in which they are wanted, and how many of them fit.

The order is the same for every budget: what does not train, the cheapest first; each method on each network at the
learning rate and augmentation that come first, with the fewest images; what does not train and takes longer than all of
these; the next numbers of images, for all of them; the
other learning rates and augmentations, of which successive halving leaves most unfinished; more seeds; what halving
stopped. What the table needs whole stands in one block, and blocks before the first that does not fit are run, so that
more time never leaves out a method or a size that less time had. The rest of the time goes to the later blocks that
fit into it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from selfsup.config.grid import Cell, Job
from selfsup.config.schema import StudyConfig
from selfsup.execution.schedulers.base import Scheduler

#: Time kept for a slower machine beside a block that the table needs whole, as a share of its own.
MARGIN = 0.15
#: Fewest epochs that a budget makes of a training, as a share of those asked for.
FEWEST_EPOCHS = 0.1
#: Trainings that are to fit, by fewer epochs if need be: two, so that methods are compared.
COMPARED_AT_LEAST = 2


class Cost(NamedTuple):
    """Seconds of a job: of what is left of its training, and of the rest."""

    training: float
    evaluation: float


#: The cost of a job, as far as it is left to do.
CostOf = Callable[[Job], Cost]


@dataclass(frozen=True)
class Block:
    """Jobs that are begun together.

    Attributes
    ----------
    name : str
        What it adds to those before it, unique among the blocks.
    jobs : tuple of Job
    leads : bool
        Whether the table needs it whole, so that none that leads is begun before it.
    share : float
        Of the jobs' epochs that are run, the others being stopped early.
    to_the_end : bool
        Whether trainings go on that a scheduler has stopped.
    """

    name: str
    jobs: tuple[Job, ...]
    leads: bool = False
    share: float = 1.0
    to_the_end: bool = False


def blocks_of(
    jobs: Sequence[Job], config: StudyConfig, scheduler: Scheduler, seconds: Callable[[Job], float]
) -> list[Block]:
    """The jobs of a grid as blocks, in the order in which they are wanted.

    Parameters
    ----------
    jobs : sequence of Job
        Of the whole grid.
    config : StudyConfig
    scheduler : Scheduler
        Decides between learning rates and augmentations.
    seconds : callable
        What a job takes.
    """
    untrained = sorted((job for job in jobs if not trains(job) and job.cells[0].seed == 0), key=seconds)
    trained = [job for job in jobs if trains(job) and job.cells[0].seed == 0]
    first = _first_settings(trained, config)
    core = [job for job in trained if _setting(job) == first[candidate_of(job)]]
    sizes = sorted({_size(job, config) for job in trained})
    smallest = [job for job in core if _size(job, config) in sizes[:1]]
    blocks = [
        Block("-".join(candidate), tuple(job for job in smallest if candidate_of(job) == candidate), leads=True)
        for candidate in dict.fromkeys(map(candidate_of, smallest))
    ]
    alone = [Block(job.id, (job,), leads=True) for job in untrained]
    dear = [block for block in alone if smallest and seconds(block.jobs[0]) > sum(map(seconds, smallest))]
    blocks = [*(block for block in alone if block not in dear), *blocks, *dear]
    for size in sizes[1:]:
        blocks.append(Block(f"n{size:g}", tuple(job for job in core if _size(job, config) == size), leads=True))
    share = scheduler.share(max(1, len({_setting(job) for job in trained}) - 1))
    others = [(size, [j for j in trained if j not in core and _size(j, config) == size]) for size in sizes]
    blocks += [Block(f"settings-n{size:g}", tuple(found), share=share) for size, found in others if found]
    for seed in sorted({job.cells[0].seed for job in jobs} - {0}):
        for size in [0.0, *sizes]:  # 0: what does not train
            again = [j for j in jobs if j.cells[0].seed == seed and (_size(j, config) if trains(j) else 0.0) == size]
            blocks += [Block(f"s{seed}-n{size:g}", tuple(again), share=share)] if again else []
    if share < 1 and scheduler.resumes:
        later = [job for job in jobs if trains(job) and job not in core]
        for size in sizes:
            rest = tuple(job for job in later if _size(job, config) == size)
            blocks += [Block(f"rest-n{size:g}", rest, to_the_end=True)] if rest else []
    return blocks


def trains(job: Job) -> bool:
    """Whether the job's method trains."""
    return job.cells[0].lr is not None


def candidate_of(job: Job) -> tuple[str, str]:
    """The method and network of a job."""
    return job.cells[0].method, job.cells[0].backbone


def _setting(job: Job) -> tuple[str | None, float | None]:
    cell = job.cells[0]
    return cell.augmentation, cell.lr if cell.lr_multiple is None else cell.lr_multiple


def _size(job: Job, config: StudyConfig) -> float:
    """Where the job's number of images comes among the others; all at one place where trainings do not depend on it."""
    size = job.cells[0].per_class
    if config.protocol == "label-efficiency":
        return math.inf
    return math.inf if size == "all" else float(str(size).removesuffix("%"))


def _first_settings(jobs: Iterable[Job], config: StudyConfig) -> dict[tuple[str, str], tuple[str | None, float | None]]:
    """Of each candidate the first augmentation, and the learning rate nearest its own, or the middle one."""
    settings: dict[tuple[str, str], list[tuple[str | None, float | None]]] = {}
    for job in jobs:
        settings.setdefault(candidate_of(job), []).append(_setting(job))
    multiples = isinstance(config.lrs[0], str)
    places = {name: place for place, name in enumerate(config.policies)}
    first = {}
    for candidate, found in settings.items():
        rates = sorted({rate for _, rate in found if rate is not None})
        middle = 1.0 if multiples else rates[(len(rates) - 1) // 2]
        first[candidate] = min(found, key=lambda s: (places.get(s[0] or "", 0), abs(math.log((s[1] or 1.0) / middle))))
    return first


def wall_seconds(blocks: Iterable[Block], cost_of: CostOf, workers: int, epochs: float = 1.0) -> float:
    """Seconds that so many workers take for the blocks, with trainings of a share of their epochs."""
    costs = [(block.share * epochs, cost_of(job)) for block in blocks for job in block.jobs]
    seconds = [share * cost.training + cost.evaluation for share, cost in costs]
    return max(sum(seconds) / workers, max(seconds, default=0.0))


def waiting(blocks: Iterable[Block], taken: Sequence[Block]) -> list[Block]:
    """The blocks that can come next, those that do not lead only with what the table has by now."""
    names = {block.name for block in taken}
    begun = [job for block in taken if block.leads for job in block.jobs]
    rows = {(candidate_of(job), job.cells[0].per_class) for job in begun}
    found = []
    for block in blocks:
        if block.name in names:
            continue
        jobs = block.jobs
        if not block.leads:
            jobs = tuple(j for j in jobs if (candidate_of(j), j.cells[0].per_class) in rows)
        if jobs:
            found.append(replace(block, jobs=jobs))
    return found


def next_that_fits(
    blocks: Sequence[Block], taken: Sequence[Block], pending: Sequence[Block], wall: Callable[[Sequence[Block]], float],
    left: float,
) -> Block | None:  # fmt: skip
    """The first block that fits into the seconds that are left beside those that are pending; None if none does."""
    leading = True
    for block in waiting(blocks, taken):
        if block.leads and not leading:
            continue
        margin = MARGIN * wall([block]) if block.leads else 0.0
        if wall([*pending, block]) + margin <= left:
            return block
        leading = leading and not block.leads
    return None


@dataclass(frozen=True)
class ChosenBlocks:
    """What a budget comes to by estimate: the blocks that fit, and the epochs of a training."""

    blocks: tuple[Block, ...]
    epochs: int

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells of the blocks, each once."""
        return tuple(dict.fromkeys(cell for block in self.blocks for job in block.jobs for cell in job.cells))


def choose(
    blocks: Sequence[Block], cost_of: CostOf, seconds: float, workers: int, *, epochs: int, fixed: bool = False
) -> ChosenBlocks:
    """What fits into so many seconds.

    Where not even two trainings of all epochs fit, it is those two with as many epochs as fit, unless the number is
    `fixed` because a study has trainings of it.
    """
    taken: list[Block] = []

    def wall(found: Sequence[Block]) -> float:
        return wall_seconds(found, cost_of, workers)

    while (block := next_that_fits(blocks, taken, taken, wall, seconds)) is not None:
        taken.append(block)
    least = _least(blocks)
    if not fixed and len(taken) < len(least):
        for number in range(epochs - 1, math.ceil(FEWEST_EPOCHS * epochs) - 1, -1):
            if (1 + MARGIN) * wall_seconds(least, cost_of, workers, number / epochs) <= seconds:
                return ChosenBlocks(tuple(least), number)
    return ChosenBlocks(tuple(taken), epochs)


def _least(blocks: Sequence[Block]) -> list[Block]:
    """The blocks up to the second method or network that trains, or to the first where there is no second."""
    places: dict[tuple[str, str], int] = {}
    for place, block in enumerate(blocks, 1):
        for job in filter(trains, block.jobs):
            places.setdefault(candidate_of(job), place)
    return list(blocks[: max(sorted(places.values())[:COMPARED_AT_LEAST], default=0)])


def least_seconds(blocks: Sequence[Block], cost_of: CostOf) -> float:
    """Seconds of the first job that is left."""
    return next((seconds for block in blocks if (seconds := sum(cost_of(block.jobs[0])))), 0.0)
