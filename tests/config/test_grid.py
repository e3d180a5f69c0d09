"""The grid as plain values: cells, their names, and the jobs that train them."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfsup.config import grid as grids
from selfsup.config.axes import AXES, format_lr
from selfsup.config.grid import Cell, Job, Tags, fuse_jobs, group_jobs, images_of
from selfsup.config.network_source import NetworkSource

TAGS = {
    "simclr": Tags(),
    "moco": Tags(),
    "supervised": Tags(uses_labels=True),
    "frozen": Tags(trains=False),
    "random": Tags(trains=False, keeps_weights=False),
    "reference": Tags(trains=False, of_references=True),
}
RESNET, TRAINED, VIT = map(NetworkSource.parse, ("resnet18", "resnet18@imagenet", "vit_tiny@some/where/mae.pth"))
METHODS = st.lists(st.sampled_from(["simclr", "moco", "supervised", "frozen"]), unique=True)
NETWORKS = st.lists(st.sampled_from([RESNET, TRAINED, VIT]), min_size=1, unique=True)
AUGMENTATIONS = st.lists(st.sampled_from(["weak", "simclr"]), min_size=1, unique=True)
LRS = st.lists(st.floats(1e-300, 1e300, exclude_min=True), min_size=1, max_size=4, unique=True)
SHARES = st.floats(0.001, 99.9).map(lambda percent: f"{percent:g}%")
SIZES = st.lists(st.integers(1, 10**6) | SHARES | st.just("all"), min_size=1, max_size=4, unique=True)
GRIDS = st.fixed_dictionaries(
    {
        "methods": METHODS,
        "backbones": NETWORKS,
        "augmentations": AUGMENTATIONS,
        "lrs": LRS,
        "per_class": SIZES,
        "seeds": st.integers(1, 3),
    }
)


def expand(backbones: Sequence[NetworkSource] = (RESNET,), **axes: Any) -> list[Cell]:
    return grids.expand(backbones=backbones, **axes)


def cell(method: str = "moco", n: int | str = 20, seed: int = 0, lr: float | None = 0.06) -> Cell:
    return Cell(method, "resnet18", None if lr is None else "weak", lr, n, seed)


# -- names ---------------------------------------------------------------------------------------


def test_a_cell_is_named_by_all_that_it_is() -> None:
    assert cell().id == str(cell()) == "moco-resnet18-weak-lr0.06-n20-s0"
    assert cell("frozen", "all", 2, None).id == "frozen-resnet18-nall-s2"
    assert cell("frozen", "2.5%", 2, None).id == "frozen-resnet18-n2.5pct-s2"


@pytest.mark.parametrize(
    ("lr", "text"), [(0.06, "0.06"), (1.0, "1"), (10.0, "10"), (3e-4, "0.0003"), (1e-5, "1e-5"), (2.5e-12, "2.5e-12")]
)
def test_a_learning_rate_is_written_as_people_write_it(lr: float, text: str) -> None:
    assert format_lr(lr) == text


@given(st.floats(0, math.inf, exclude_min=True, exclude_max=True))
def test_a_written_learning_rate_reads_back_as_the_same_float(lr: float) -> None:
    assert float(format_lr(lr)) == lr


@given(GRIDS)
def test_no_two_cells_of_a_grid_share_an_id(grid: dict) -> None:
    cells = expand(**grid, tags=TAGS)
    assert len({c.id for c in cells}) == len(set(cells)) == len(cells)


@given(GRIDS)
def test_an_id_is_a_plain_file_name(grid: dict) -> None:
    for c in expand(**grid, tags=TAGS):
        assert set(c.id) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-+_@")
        assert not c.id.startswith((".", "-"))
        assert len(c.id) < 100


# -- expansion -----------------------------------------------------------------------------------


@given(GRIDS)
def test_a_grid_is_the_product_of_its_axes_and_baselines_skip_two_of_them(grid: dict) -> None:
    trained = [name for name in grid["methods"] if TAGS[name].trains]
    untrained = [name for name in grid["methods"] if not TAGS[name].trains]
    networks = [source.label for source in grid["backbones"]]
    seeds = range(grid["seeds"])
    wanted = {
        Cell(*point)
        for point in itertools.product(trained, networks, grid["augmentations"], grid["lrs"], grid["per_class"], seeds)
    } | {
        Cell(name, network, None, None, n, seed)
        for name, network, n, seed in itertools.product(untrained, networks, grid["per_class"], seeds)
    }
    assert set(expand(**grid, tags=TAGS)) == wanted


def test_cells_come_in_the_order_of_the_axes_with_seeds_outermost() -> None:
    grid = {"methods": ["moco", "frozen"], "augmentations": ["weak"], "lrs": [0.1, 0.01], "per_class": [5, "all"]}
    assert [c.id for c in expand(**grid, seeds=2, tags=TAGS)] == [
        f"{name}-s{seed}"
        for seed in (0, 1)
        for name in (
            "moco-resnet18-weak-lr0.1-n5",
            "moco-resnet18-weak-lr0.1-nall",
            "moco-resnet18-weak-lr0.01-n5",
            "moco-resnet18-weak-lr0.01-nall",
            "frozen-resnet18-n5",
            "frozen-resnet18-nall",
        )
    ]


@given(GRIDS)
def test_more_seeds_add_cells_after_those_that_were_there(grid: dict) -> None:
    before = expand(**grid, tags=TAGS)
    after = expand(**{**grid, "seeds": grid["seeds"] + 1}, tags=TAGS)
    assert after[: len(before)] == before


def test_each_network_has_rates_of_its_own() -> None:
    cells = expand(
        [RESNET, VIT],
        methods=["simclr"],
        augmentations=["weak"],
        lrs=["3x"],
        per_class=[5],
        seeds=1,
        tags=TAGS,
        rates={("simclr", "resnet18"): 0.01, ("simclr", "vit_tiny@mae"): 0.001},
    )
    assert [(cell.backbone, cell.lr) for cell in cells] == [("resnet18", 0.03), ("vit_tiny@mae", 0.003)]


def test_what_keeps_no_weights_is_there_once_per_architecture() -> None:
    grid = {"augmentations": ["weak"], "lrs": [0.1], "per_class": [5], "seeds": 1, "tags": TAGS}
    cells = expand([RESNET, TRAINED, VIT], methods=["frozen", "random"], **grid)
    assert [cell.id for cell in cells] == [
        "frozen-resnet18-n5-s0",
        "frozen-resnet18@imagenet-n5-s0",
        "frozen-vit_tiny@mae-n5-s0",
        "random-resnet18-n5-s0",
        "random-vit_tiny-n5-s0",
    ]


@pytest.mark.parametrize("methods", [["same"], ["same", "random"], ["random", "same"]])
def test_what_is_another_method_without_weights_is_there_once_and_as_that_one(methods: list[str]) -> None:
    tags = {**TAGS, "same": Tags(trains=False, without_weights="random")}
    grid = {"augmentations": ["weak"], "lrs": [0.1], "per_class": [5], "seeds": 1, "tags": tags}
    cells = expand([RESNET, TRAINED], methods=methods, **grid)
    assert sorted(cell.id for cell in cells) == ["random-resnet18-n5-s0", "same-resnet18@imagenet-n5-s0"]


def test_references_stand_in_their_method_alone_and_are_embedded_once_for_all_seeds() -> None:
    cells = expand(
        methods=["frozen", "reference"],
        references=[NetworkSource.parse("dino.lvd", "imagenet")],
        augmentations=["weak"],
        lrs=[0.1],
        per_class=[5, "all"],
        seeds=2,
        tags=TAGS,
    )
    jobs = group_jobs(cells, protocol="data-regime", tags=TAGS)
    assert {job.id: len(job.cells) for job in jobs} == {
        "frozen-resnet18-nall-s0-shared": 2,
        "frozen-resnet18-nall-s1-shared": 2,
        "reference-dino.lvd-nall-s0-shared": 4,
    }


def test_every_attribute_of_a_cell_that_names_it_is_an_axis() -> None:
    assert [axis.name for axis in AXES] == [field for field in vars(cell()) if field != "lr_multiple"]


# -- jobs ----------------------------------------------------------------------------------------


@given(GRIDS, st.sampled_from(["data-regime", "label-efficiency"]))
def test_every_cell_is_in_exactly_one_job_and_job_ids_differ(grid: dict, protocol: str) -> None:
    cells = expand(**grid, tags=TAGS)
    jobs = group_jobs(cells, protocol=protocol, tags=TAGS)
    assert sorted(c.id for job in jobs for c in job.cells) == sorted(c.id for c in cells)
    assert len({job.id for job in jobs}) == len(jobs)


@given(GRIDS)
def test_in_the_data_regime_every_training_serves_one_cell(grid: dict) -> None:
    for job in group_jobs(expand(**grid, tags=TAGS), protocol="data-regime", tags=TAGS):
        assert job.shared == (not TAGS[job.cells[0].method].trains)
        assert job.shared or len(job.cells) == 1


def test_label_efficiency_trains_once_for_all_numbers_of_labels_unless_labels_train() -> None:
    grid = {"augmentations": ["weak"], "lrs": [0.1], "per_class": [5, 20, "all"], "seeds": 2}
    cells = expand(methods=["moco", "supervised", "frozen"], **grid, tags=TAGS)
    jobs = group_jobs(cells, protocol="label-efficiency", tags=TAGS)
    sizes = {job.id: [c.per_class for c in job.cells] for job in jobs}
    expected = {}
    for seed in (0, 1):
        expected[f"moco-resnet18-weak-lr0.1-nall-s{seed}-shared"] = [5, 20, "all"]
        expected |= {f"supervised-resnet18-weak-lr0.1-n{n}-s{seed}": [n] for n in (5, 20, "all")}
        expected[f"frozen-resnet18-nall-s{seed}-shared"] = [5, 20, "all"]
    assert sizes == expected
    assert list(sizes) == list(expected)


def test_a_shared_jobs_name_does_not_depend_on_what_is_left_of_it() -> None:
    """Its checkpoint must be found again after some of its cells were recorded."""
    job = Job((cell(n=5), cell(n=20), cell(n="all")), shared=True)
    left = job.without({cell(n=5).id, cell(n=20).id})
    assert left is not None
    assert left.cells == (cell(n="all"),)
    assert left.id == job.id
    assert left.shared


def test_a_job_whose_cells_are_all_finished_is_gone() -> None:
    job = Job((cell(n=5), cell(n=20)), shared=True)
    assert job.without({c.id for c in job.cells}) is None
    assert job.without(set()) == job


def test_a_multiple_is_of_the_methods_own_rate_to_three_digits() -> None:
    cells = expand(
        methods=["simclr", "supervised", "frozen"],
        augmentations=["weak"],
        lrs=["0.3x", "1x"],
        per_class=[5],
        seeds=1,
        tags=TAGS,
        rates={("simclr", "resnet18"): 0.03, ("supervised", "resnet18"): 0.000123456},
    )
    assert [(cell.method, cell.lr, cell.lr_multiple) for cell in cells] == [
        ("simclr", 0.009, 0.3),
        ("simclr", 0.03, 1.0),
        ("supervised", 3.7e-5, 0.3),
        ("supervised", 0.000123, 1.0),
        ("frozen", None, None),
    ]


def test_multiples_that_come_to_one_rate_are_one_cell() -> None:
    cells = expand(
        methods=["simclr"],
        augmentations=["weak"],
        lrs=["1x", "1.0001x"],
        per_class=[5],
        seeds=1,
        tags=TAGS,
        rates={("simclr", "resnet18"): 0.03},
    )
    assert [cell.lr for cell in cells] == [0.03]


def test_a_method_with_views_of_its_own_is_not_crossed_with_augmentations() -> None:
    cells = expand(
        methods=["mae", "simclr"],
        augmentations=["weak", "simclr"],
        lrs=[0.1],
        per_class=[5],
        seeds=1,
        tags={"mae": Tags(augmentation="crop"), "simclr": Tags()},
    )
    assert [cell.id for cell in cells] == [
        "mae-resnet18-crop-lr0.1-n5-s0",
        "simclr-resnet18-weak-lr0.1-n5-s0",
        "simclr-resnet18-simclr-lr0.1-n5-s0",
    ]


@given(GRIDS, st.sampled_from(["data-regime", "label-efficiency"]), st.none() | st.integers(1, 100))
def test_a_job_sent_to_another_process_is_the_same_there(grid: dict, protocol: str, until: int | None) -> None:
    jobs = group_jobs(expand(**grid, tags=TAGS), protocol=protocol, tags=TAGS)
    for job in fuse_jobs([replace(job, until=until) for job in jobs], jobs, most=2):
        assert Job.from_dict(json.loads(json.dumps(job.to_dict()))) == job


def jobs_of(*lrs: float) -> list[Job]:
    return [Job((Cell("simclr", "resnet18", "weak", lr, 5, 0),)) for lr in lrs]


def test_sets_of_learning_rates_do_not_change_when_some_are_finished() -> None:
    grid = jobs_of(0.1, 0.2, 0.3, 0.4, 0.5)
    whole = fuse_jobs(grid, grid, 2)
    assert [[cell.lr for cell in job.cells] for job in whole] == [[0.1, 0.2], [0.3, 0.4], [0.5]]
    assert [job.id for job in whole] == [
        "simclr-resnet18-weak-n5-s0-fused0",
        "simclr-resnet18-weak-n5-s0-fused1",
        "simclr-resnet18-weak-lr0.5-n5-s0",
    ]
    assert [job for fused in whole for job in fused.trainings] == grid
    rest = fuse_jobs(grid[2:], grid, 2)
    assert [job.id for job in rest] == [job.id for job in whole[1:]]
    assert fuse_jobs(grid, grid, 1) == grid


def test_only_what_differs_in_learning_rate_alone_is_fused() -> None:
    grid = [
        Job((Cell(method, "resnet18", "weak", lr, size, seed),))
        for method in ("simclr", "byol")
        for size in (5, 20)
        for seed in (0, 1)
        for lr in (0.1, 0.2)
    ] + [Job((Cell("random", "resnet18", None, None, 5, 0),)), Job((Cell("frozen", "resnet18", None, None, 5, 0),))]
    fused = fuse_jobs(grid, grid, 8)
    assert len(fused) == 8 + 2
    assert all(len({cell.lr for cell in job.cells}) == 2 for job in fused[:8])
    assert len({job.id for job in fused}) == len(fused)


def test_shared_trainings_are_fused_whichever_of_their_cells_are_left() -> None:
    grid = [
        Job(tuple(Cell("simclr", "resnet18", "weak", lr, size, 0) for size in (5, 20)), shared=True)
        for lr in (0.1, 0.2)
    ]
    left = [grid[0].without({grid[0].cells[0].id}), grid[1]]
    assert [[(cell.lr, cell.per_class) for cell in job.cells] for job in fuse_jobs(left, grid, 2)] == [
        [(0.1, 20), (0.2, 5), (0.2, 20)]
    ]


@pytest.mark.parametrize("available", [50, 126, 1250, 5000, 6000])
def test_a_share_is_rounded_as_it_is_written_a_half_upwards(available: int) -> None:
    """0.57 % of 5,000 are 28.5, and in binary floating point less."""
    for cents in range(1, 10_000, 7):
        share = Decimal(cents) / 100
        expected = (share * available / 100).quantize(Decimal(1), ROUND_HALF_UP)
        assert images_of(f"{float(share):g}%", available) == max(1, expected), share
    assert images_of("0.57%", 5000) == 29
