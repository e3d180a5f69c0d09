"""Which settings are chosen, on tables small enough to choose by eye."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from selfsup.report.selection import (
    CHOICE_COLUMNS,
    choose,
    comparable,
    criterion,
    optimism,
    size_order,
    superfluous_weights,
)


def cell(method="moco", augmentation="weak", lr=0.1, per_class="5", seed=0, val=0.5, test=0.5, status="done", **more):
    return {
        "cell": f"{method}-{augmentation}-{lr}-{per_class}-{seed}",
        "method": method, "augmentation": augmentation, "lr": lr, "per_class": per_class, "seed": seed,
        "status": status, "val_accuracy": val, "test_accuracy": test, "train_seconds": 10.0,
    } | more  # fmt: skip


def table(*rows: dict) -> pd.DataFrame:
    return pd.DataFrame(list(rows))


def chosen_lr(*rows: dict) -> float:
    return choose(table(*rows))["lr"].item()


def test_sizes_that_not_every_method_has_finished_are_not_compared():
    rows = [cell(per_class="5"), cell("byol", per_class="5"), cell(per_class="20"), cell("byol", per_class="20")]
    rows += [cell(per_class="all"), cell("byol", per_class="all", status="pruned")]
    rows += [cell("random", augmentation="", lr=np.nan, per_class=size) for size in ("5", "20", "all")]
    found = comparable(table(*rows).assign(backbone="resnet18"))
    sizes = found.groupby("method")["per_class"].apply(list).to_dict()
    assert sizes == {"moco": ["5", "20"], "byol": ["5", "20"], "random": ["5", "20", "all"]}


def test_a_training_that_diverged_is_finished():
    rows = [cell(), cell("byol", status="diverged")]
    assert len(comparable(table(*rows).assign(backbone="resnet18"))) == 2


def test_validation_decides_and_not_the_test():
    assert chosen_lr(cell(lr=0.1, val=0.7, test=0.5), cell(lr=0.3, val=0.6, test=0.9)) == 0.1


def test_the_mean_over_the_seeds_decides():
    rows = [cell(lr=0.1, seed=0, val=0.9), cell(lr=0.1, seed=1, val=0.5)]
    rows += [cell(lr=0.3, seed=0, val=0.75), cell(lr=0.3, seed=1, val=0.75)]
    assert chosen_lr(*rows) == 0.3


def test_of_equals_the_smaller_learning_rate_is_chosen():
    assert chosen_lr(cell(lr=0.3, val=0.7), cell(lr=0.1, val=0.7), cell(lr=1.0, val=0.7)) == 0.1


def test_means_that_differ_in_the_last_bit_are_equals():
    assert np.mean([0.1, 0.7, 0.4]) != np.mean([0.7, 0.4, 0.1])
    rows = [cell(lr=0.3, seed=s, val=v) for s, v in enumerate([0.1, 0.7, 0.4])]
    rows += [cell(lr=0.1, seed=s, val=v) for s, v in enumerate([0.7, 0.4, 0.1])]
    assert chosen_lr(*rows) == 0.1


@pytest.mark.parametrize("status", ["diverged", "collapsed", "failed"])
def test_only_cells_that_are_done_can_be_chosen(status):
    assert chosen_lr(cell(lr=0.1, val=0.9, status=status), cell(lr=0.3, val=0.2)) == 0.3


def test_a_lucky_seed_of_settings_that_diverge_is_not_chosen():
    rows = [cell(lr=0.3, seed=0, val=0.99), cell(lr=0.3, seed=1, status="diverged", val=None)]
    rows += [cell(lr=0.1, seed=0, val=0.8), cell(lr=0.1, seed=1, val=0.8)]
    assert chosen_lr(*rows) == 0.1


def test_the_augmentation_is_chosen_with_the_learning_rate():
    rows = [cell(augmentation="weak", lr=0.1, val=0.7), cell(augmentation="simclr", lr=0.3, val=0.8)]
    both = choose(table(*rows))
    assert (both["augmentation"].item(), both["lr"].item()) == ("simclr", 0.3)
    each = choose(table(*rows), per_augmentation=True)
    assert each["augmentation"].tolist() == ["simclr", "weak"]


def test_every_method_and_size_gets_a_choice_in_order():
    rows = [cell(method=m, per_class=n) for m in ("simclr", "byol") for n in ("all", "100", "20", "5")]
    chosen = choose(table(*rows))
    assert list(zip(chosen["method"], chosen["per_class"], strict=True)) == [
        (m, n) for m in ("simclr", "byol") for n in ("5", "20", "100", "all")
    ]


def test_baselines_have_no_learning_rate_and_are_chosen_all_the_same():
    chosen = choose(table(cell(method="frozen", augmentation=None, lr=None)))
    assert chosen["augmentation"].item() == ""
    assert np.isnan(chosen["lr"].item())


def test_cells_of_a_choice_come_by_seed():
    rows = [cell(seed=2), cell(seed=0), cell(seed=1)]
    assert choose(table(*rows))["cells"].item() == tuple(f"moco-weak-0.1-5-{s}" for s in range(3))


@pytest.mark.parametrize("rows", [[], [cell(status="failed", val=None)]])
def test_nothing_finished_gives_an_empty_choice(rows):
    results = table(*rows)
    assert choose(results).empty
    assert list(choose(results).columns) == CHOICE_COLUMNS


def test_numbers_of_images_are_ordered_as_numbers():
    assert size_order(["all", "100", "20", "5", "5"]) == ["5", "20", "100", "all"]
    assert size_order(["10%", "all", "2.5%", "2%"]) == ["2%", "2.5%", "10%", "all"]


def test_without_labels_effective_rank_decides():
    rows = [cell(lr=lr, val=None, test=None, effective_rank=rank) for lr, rank in ((0.1, 12.0), (0.3, 40.0))]
    assert criterion(table(*rows)) == "effective_rank"
    assert chosen_lr(*rows) == 0.3


def test_choosing_on_the_test_set_is_optimistic_by_a_known_amount():
    rows = [cell(lr=0.1, val=0.7, test=0.6), cell(lr=0.3, val=0.6, test=0.65)]
    rows += [cell(method="byol", lr=0.1, val=0.7, test=0.8), cell(method="byol", lr=0.3, val=0.6, test=0.7)]
    rows += [cell(method="frozen", augmentation=None, lr=None, test=0.9)]
    found = optimism(table(*rows))
    assert (found.choices, found.mean, found.largest) == (2, pytest.approx(0.025), pytest.approx(0.05))


def test_a_lucky_seed_does_not_count_as_optimism():
    rows = [cell(lr=0.3, seed=0, val=0.9, test=0.99), cell(lr=0.3, seed=1, status="diverged", val=None, test=None)]
    rows += [cell(lr=0.1, seed=s, val=0.8, test=0.8) for s in (0, 1)]
    assert optimism(table(*rows)) is None


def test_without_a_choice_there_is_no_optimism():
    assert optimism(table(cell())) is None
    assert optimism(table()) is None


def test_missing_values_of_any_kind_are_understood():
    results = table(cell(), cell(method="frozen", augmentation=None, lr=None)).astype({"seed": "Int64"})
    results["clusters"] = pd.array([pd.NA, pd.NA], dtype="Int64")
    assert len(choose(results)) == 2


def test_only_weights_of_chosen_settings_are_kept() -> None:
    rows = [("a", 0.1, 0.8, "w"), ("b", 0.01, 0.9, "w"), ("c", 0.001, 0.9, "w"), ("d", 0.001, 0.7, "s")]
    table = pd.DataFrame(
        [
            {"cell": c, "lr": lr, "val_accuracy": v, "method": "m", "augmentation": a, "per_class": "5", "seed": 0}
            for c, lr, v, a in rows
        ]
    ).assign(status="done", backbone="net")
    assert superfluous_weights(table) == ["a", "b", "d"]  # of equals, the smaller learning rate stays
    assert superfluous_weights(table.assign(status="diverged")) == []


@pytest.mark.parametrize("number", range(4))
def test_the_chosen_settings_have_their_weights_whatever_the_order_in_which_cells_finish(number: int) -> None:
    random, seeds = np.random.default_rng(number), 3
    settings = [("m", "weak", 0.1), ("m", "weak", 0.3), ("m", "strong", 0.1)]
    rows = [  # scores are rounded, so that some are equals
        cell(*setting, seed=seed, val=round(random.uniform(), 1), status=random.choice(["done", "done", "diverged"]))
        for seed in range(seeds)
        for setting in settings
    ]
    in_order = table(*rows).assign(backbone="net")
    results = in_order if number == 0 else in_order.sample(frac=1, random_state=number)
    kept: set[str] = set()
    for finished in range(1, len(rows) + 1):
        so_far = results[:finished]
        kept.add(so_far["cell"].iloc[-1])
        kept -= set(superfluous_weights(so_far, seeds=seeds))
    assert kept == {name for cells in choose(results)["cells"] for name in cells}


def test_weights_go_as_soon_as_all_seeds_of_settings_that_are_not_chosen_have_ended() -> None:
    rows = [cell(lr=lr, seed=seed, val=val, backbone="net") for seed in (0, 1) for lr, val in ((0.1, 0.9), (0.3, 0.8))]
    assert superfluous_weights(table(*rows[:3]), seeds=2) == []
    assert superfluous_weights(table(*rows), seeds=2) == [rows[1]["cell"], rows[3]["cell"]]
    assert superfluous_weights(table(*rows[:2], {**rows[3], "status": "failed"}), seeds=2) == []  # it is tried again
