"""What fits into a budget: the order in which jobs are wanted, and how far it goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from selfsup.config.grid import Job, Tags, expand, group_jobs
from selfsup.config.network_source import NetworkSource
from selfsup.config.schema import StudyConfig
from selfsup.config.validation import validate
from selfsup.execution.budgets.budget import (
    Block,
    ChosenBlocks,
    Cost,
    blocks_of,
    candidate_of,
    choose,
    trains,
    waiting,
    wall_seconds,
)
from selfsup.execution.schedulers import load_scheduler
from selfsup.record.folder import StudyFolder

TAGS = {
    "simclr": Tags(), "moco": Tags(), "byol": Tags(), "random": Tags(trains=False, keeps_weights=False),
    "reference": Tags(trains=False, of_references=True),
}  # fmt: skip
EPOCHS = 90
UNTRAINED = ["reference-resnet50@imagenet-nall-s0-shared", "random-resnet18-nall-s0-shared"]


def config_of(**values: object) -> StudyConfig:
    grid = {"methods": "simclr,moco,byol,random", "references": "resnet50", "augmentations": "weak,simclr"}
    return validate({**grid, "per_class": "20,all,5", "epochs": EPOCHS, "scheduler": "halving", **values})


def jobs_of(config: StudyConfig) -> list[Job]:
    cells = expand(
        methods=[*config.methods, "reference"], backbones=[NetworkSource("resnet18", "none")],
        references=config.reference_networks, augmentations=config.augmentations, lrs=config.lrs,
        per_class=config.per_class, seeds=config.seeds, tags=TAGS,
        rates={(method, "resnet18"): 0.1 for method in config.methods},
    )  # fmt: skip
    return group_jobs(cells, protocol=config.protocol, tags=TAGS)


def blocks_for(config: StudyConfig) -> list[Block]:
    return blocks_of(jobs_of(config), config, load_scheduler(config, StudyFolder(Path("nowhere"))), evaluation)


def evaluation(job: Job) -> float:
    """References are cheap here, so that they come first."""
    return 1.0 if job.cells[0].method == "reference" else 2.0


def cost_of(job: Job) -> Cost:
    """A second for evaluation, and a training of 5, 20 and 100 s by its images."""
    images = {5: 5.0, 20: 20.0, "all": 100.0}
    return Cost(images[job.cells[0].per_class] if trains(job) else 0.0, 1.0)


def chosen(config: StudyConfig, seconds: float, workers: int = 1) -> ChosenBlocks:
    return choose(blocks_for(config), cost_of, seconds, workers, epochs=EPOCHS)


def names(blocks: Sequence[Block]) -> list[str]:
    return [block.name for block in blocks]


def test_the_order_is_what_is_cheap_methods_sizes_settings_and_what_was_stopped() -> None:
    assert names(blocks_for(config_of())) == [
        *UNTRAINED, "simclr-resnet18", "moco-resnet18", "byol-resnet18", "n20", "ninf",
        "settings-n5", "settings-n20", "settings-ninf", "rest-n5", "rest-n20", "rest-ninf",
    ]  # fmt: skip


def test_a_reference_that_takes_longer_than_a_training_of_every_method_comes_after_them() -> None:
    """Else a short time that it does not fit into would be left without any training."""
    config = config_of()

    def seconds(job: Job) -> float:
        return 16.0 if job.cells[0].method == "reference" else 5.0  # of three trainings 15

    blocks = blocks_of(jobs_of(config), config, load_scheduler(config, StudyFolder(Path("nowhere"))), seconds)
    assert names(blocks)[:6] == [
        UNTRAINED[1], "simclr-resnet18", "moco-resnet18", "byol-resnet18", UNTRAINED[0], "n20",
    ]  # fmt: skip


def test_more_seeds_come_before_what_was_stopped() -> None:
    found = names(blocks_for(config_of(seeds=2, per_class="5,20")))
    assert found[-7:] == ["settings-n5", "settings-n20", "s1-n0", "s1-n5", "s1-n20", "rest-n5", "rest-n20"]


def test_no_further_seed_of_an_untrained_network_comes_before_its_first() -> None:
    blocks = blocks_for(config_of(seeds=2))
    seeds = [block.name for block in waiting(blocks, []) if block.name.startswith("s1")]
    assert (seeds, names(waiting(blocks, blocks[:2]))[-1]) == ([], "s1-n0")


def test_a_method_begins_with_its_own_rate_and_the_first_augmentation() -> None:
    simclr = next(block for block in blocks_for(config_of()) if block.name == "simclr-resnet18")
    (cell,) = (cell for job in simclr.jobs for cell in job.cells)
    assert (cell.augmentation, cell.lr_multiple, cell.per_class) == ("weak", 1.0, 5)


def test_of_rates_in_numbers_the_middle_one_is_first() -> None:
    simclr = next(b for b in blocks_for(config_of(lrs="0.01,1,0.1")) if b.name == "simclr-resnet18")
    assert [job.cells[0].lr for job in simclr.jobs] == [0.1]


def test_all_jobs_of_the_grid_stand_in_some_block() -> None:
    config = config_of(seeds=3)
    assert {job.id for job in jobs_of(config)} == {job.id for block in blocks_for(config) for job in block.jobs}


def test_under_label_efficiency_the_numbers_of_labels_come_together() -> None:
    assert names(blocks_for(config_of(protocol="label-efficiency")))[2:6] == [
        "simclr-resnet18", "moco-resnet18", "byol-resnet18", "settings-ninf",
    ]  # fmt: skip


def test_with_little_time_the_first_methods_are_compared_with_what_does_not_train() -> None:
    """Two jobs of 1 s and two trainings of 6 s come to 14 s."""
    assert names(chosen(config_of(), 15.0).blocks)[2:] == ["simclr-resnet18", "moco-resnet18"]


def test_two_trainings_that_do_not_fit_have_fewer_epochs() -> None:
    """Of 9.19 s, 8 are left once 15 % are kept; 4 evaluations leave 4 s, of twice 5 s two fifths: 35 epochs."""
    found = chosen(config_of(), 9.19)
    assert (len(found.blocks), found.epochs) == (4, 35)


def test_the_epochs_of_a_study_that_has_begun_stay() -> None:
    found = choose(blocks_for(config_of()), cost_of, 9.19, 1, epochs=EPOCHS, fixed=True)
    assert (names(found.blocks)[2:], found.epochs) == (["simclr-resnet18"], EPOCHS)


def test_time_for_no_training_is_still_for_what_does_not_train() -> None:
    assert names(chosen(config_of(), 2.5).blocks) == UNTRAINED


def test_time_for_nothing_chooses_nothing() -> None:
    assert chosen(config_of(), 0.9).blocks == ()


def test_where_the_next_size_does_not_fit_other_settings_of_the_smaller_ones_do() -> None:
    found = names(chosen(config_of(), 250.0).blocks)
    assert "ninf" not in found
    assert found[-1] == "settings-n20"


def test_all_of_the_grid_is_chosen_where_it_fits() -> None:
    config = config_of()
    assert set(chosen(config, 1e5).cells) == {cell for job in jobs_of(config) for cell in job.cells}


def test_two_workers_do_in_the_time_what_one_does_in_twice_of_it() -> None:
    one, two = chosen(config_of(), 1000.0), chosen(config_of(), 520.0, workers=2)
    assert names(two.blocks) == names(one.blocks)


seconds_of_jobs = st.floats(0.1, 1000.0)


@given(st.dictionaries(st.sampled_from(["simclr", "moco", "byol", "random", "reference"]), seconds_of_jobs), st.data())
def test_any_budget_is_kept_and_more_of_it_drops_no_method_and_no_size(
    factors: dict[str, float], data: st.DataObject
) -> None:
    config = config_of(seeds=2)
    blocks, workers = blocks_for(config), data.draw(st.integers(1, 4))

    def cost(job: Job) -> Cost:
        factor = factors.get(job.cells[0].method, 1.0)
        return Cost(*(factor * part for part in cost_of(job)))

    def rows(choice: ChosenBlocks) -> set[object]:
        return {(candidate_of(job), job.cells[0].per_class) for block in choice.blocks for job in block.jobs}

    less, more = sorted(data.draw(st.tuples(st.floats(0.0, 1e6), st.floats(0.0, 1e6))))
    found = [choose(blocks, cost, seconds, workers, epochs=EPOCHS) for seconds in (less, more)]
    for choice, seconds in zip(found, (less, more), strict=True):
        assert wall_seconds(choice.blocks, cost, workers, choice.epochs / EPOCHS) <= seconds
    assert rows(found[0]) <= rows(found[1])
