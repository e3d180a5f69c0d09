"""Cells in words: what is chosen of a grid, and what is left out."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from selfsup.config.grid import Cell, PerClass
from selfsup.config.validation import validate
from selfsup.data.items import NO_SIDE, Item, ItemTable
from selfsup.execution.grid_words import about_sizes, describe, left_out

TRAINED = [
    Cell(method, "resnet18", policy, 0.1 * multiple, size, 0, multiple)
    for method, policy, multiple, size in product(("simclr", "moco"), ("simclr", "weak"), (1.0, 3.0), (5, "all"))
]
IDLE = [Cell("reference", name, None, None, 5, 0) for name in ("resnet50", "vit")]
IDLE.append(Cell("random", "resnet18", None, None, 5, 0))
CELLS = [*TRAINED, *IDLE]


def test_the_whole_grid_is_described_by_its_axes() -> None:
    assert describe(CELLS, epochs=100) == (
        "2 references and random; simclr and moco at 1x and 3x with policy simclr and weak; 5 and all per class; "
        "100 epochs"
    )


def test_without_trainings_there_are_no_epochs() -> None:
    assert describe(IDLE, epochs=100) == "2 references and random; 5 per class"


def test_a_method_with_several_networks_is_named_with_them() -> None:
    cells = [Cell("simclr", network, "weak", 0.03, 5, seed) for network in ("resnet18", "resnet50") for seed in (0, 1)]
    assert describe(cells, epochs=9) == (
        "simclr resnet18 and simclr resnet50 at 0.03 with policy weak; 5 per class; 2 seeds; 9 epochs"
    )


def test_seeds_that_only_networks_without_training_have_are_not_counted_as_those_of_trainings() -> None:
    cells = [replace(c, seed=seed) for c in (TRAINED[0], TRAINED[1], IDLE[-1]) for seed in (0, 1)]
    chosen = [c for c in cells if c.seed == 0 or c.lr is None]
    assert describe(chosen, epochs=30) == (
        "random; simclr at 1x with policy simclr; 5 and all per class; 1 seed (2 without training); 30 epochs"
    )
    assert left_out(cells, chosen) == "seed 1 of trainings"
    assert describe(cells, epochs=30).endswith("; 2 seeds; 30 epochs")


def test_of_everything_nothing_is_left_out() -> None:
    assert left_out(CELLS, CELLS) == ""


def test_what_is_on_no_chosen_cell_is_named_by_its_axis_alone() -> None:
    chosen = [
        c for c in TRAINED if (c.method, c.augmentation, c.lr_multiple, c.per_class) == ("simclr", "simclr", 1, 5)
    ]
    assert left_out(CELLS, [*chosen, *IDLE]) == "moco; all per class for simclr; policy weak; rate 3x"


def test_settings_that_are_missing_with_some_numbers_of_images_are_named_with_these() -> None:
    chosen = [c for c in TRAINED if c.per_class == 5 or (c.augmentation, c.lr_multiple) == ("simclr", 1.0)]
    assert left_out(CELLS, [*chosen, *IDLE]) == "other rates and policies with all per class"


def test_only_what_there_are_several_of_is_other_and_is_named_where_it_is_all_of_it() -> None:
    weak = [c for c in TRAINED if c.augmentation == "weak"]
    of_one_rate = [c for c in weak if c.per_class == 5 or c.lr_multiple == 1.0]
    assert left_out(weak, of_one_rate) == "rate 3x with all per class"
    of_moco_another = [*of_one_rate, *(c for c in weak if c.method == "moco")]
    assert left_out(weak, of_moco_another) == "other rates with all per class"
    again = [replace(c, seed=seed) for c in weak for seed in (0, 1)]
    chosen = [c for c in again if c.per_class == 5 or c.seed == 0]
    assert left_out(again, chosen) == "seed 1 with all per class"


def test_a_number_of_images_that_not_all_methods_have_is_named_with_those_that_have_not() -> None:
    chosen = [c for c in TRAINED if (c.method, c.per_class) != ("moco", "all")]
    assert left_out(CELLS, [*chosen, *IDLE]) == "all per class for moco"


def test_numbers_of_images_that_the_same_methods_lack_are_named_together() -> None:
    cells = [Cell(method, "resnet18", "weak", 0.1, size, 0) for method in ("simclr", "moco") for size in (5, 20, "all")]
    assert left_out(cells, [cells[0], *cells[3:5]]) == "20 per class for simclr; all per class for simclr and moco"
    assert left_out(cells, [cells[0], cells[3]]) == "20 and all per class for simclr and moco"


def test_what_does_not_train_hides_no_number_of_images_that_no_training_has() -> None:
    random = Cell("random", "resnet18", None, None, "all", 0)
    chosen = [random, *IDLE, *(c for c in TRAINED if c.per_class == 5)]
    assert left_out([*CELLS, random], chosen) == "all per class for simclr and moco"


def test_trainings_that_were_all_stopped_early_have_not_come_to_their_number_of_images() -> None:
    stopped = [c for c in TRAINED if (c.method, c.per_class) == ("simclr", "all")][:2]
    chosen = [*IDLE, *(c for c in TRAINED if c.per_class == 5), *stopped]
    assert left_out(CELLS, chosen, stopped) == "all per class for simclr and moco"


def test_other_cells_are_counted() -> None:
    random = Cell("random", "resnet18", None, None, "all", 0)
    assert left_out([*CELLS, random], CELLS) == "1 other cell"


def test_passes_are_told_where_a_training_has_so_few_images_that_its_epochs_have_several() -> None:
    labels = np.repeat(np.arange(2), 600)
    items = ItemTable(tuple(map(str, range(1200))), ("cat", "dog"), labels, np.full(1200, NO_SIDE), ())
    train = np.arange(1200)

    def said(*sizes: PerClass, **values: Any) -> list[str]:
        cells = [replace(TRAINED[0], per_class=size) for size in sizes]
        return list(about_sizes(cells, validate({"min_steps": 1000, "image_size": 32, **values}), items, train))

    # Nine steps of 128 in each of 100 epochs are 900; with ten there are enough.
    told = [
        "A training on up to 1,152 images passes over them several times in an epoch, so that its 100 epochs have "
        "1,000 steps; --min-steps 0 has one pass."
    ]
    assert said(576) == said(5, "all") == said("10%") == told
    assert said(577) == said("all") == []
    assert said(5, min_steps=0) == said(5, epochs=1000, min_steps=1000) == []
    assert list(about_sizes(IDLE, validate({"image_size": 32}), items, train)) == []  # nothing is trained


def test_numbers_that_are_the_same_images_are_named() -> None:
    items = ItemTable.of([Item(f"{number}.png", "ab"[number % 2]) for number in range(40)])

    def said(*sizes: PerClass, train: int = 40) -> list[str]:
        cells = [Cell("random", "resnet18", None, None, size, 0) for size in sizes]
        return list(about_sizes(cells, validate({"image_size": 32}), items, np.arange(train)))

    same = "are the same images here, so their cells have the same numbers."
    assert said("1%", "5%", "10%", "all") == [f"--per-class 1% and 5% {same}"]
    assert said(5, 20, "all") == [f"--per-class 20 and all {same}"]
    assert said(5, 20, "all", train=39) == [f"--per-class 20 and all {same}"]
    assert said(5, 19, "all", train=39) == []  # of one class 19, of the other 20
    assert said(5, 30, "all") == ["No class has more than 20 images to train on, so --per-class 30 means all of them."]
