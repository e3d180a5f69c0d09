"""The answer of a study: the word for a difference, the labels saved, and what was not shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from selfsup.cli.answer_text import _scores
from selfsup.errors import UserError
from selfsup.evaluation.linear_probe import LinearProbe
from selfsup.report.mcnemar import tango
from selfsup.report.pairwise import verdict_of
from selfsup.report.recorded import read_study
from selfsup.report.statistics import Interval, PairedTest
from selfsup.report.table import headline
from selfsup.report.verdict import answer


def test_the_best_self_supervised_method_is_recommended(make_study):
    found = answer(make_study().path)
    assert (found.best.method, found.best.per_class) == ("moco", "all")
    # Supervised training scores higher here, and is a baseline all the same.
    assert max(found.choices, key=lambda c: c.score).method == "supervised"


@pytest.mark.parametrize(
    ("difference", "p", "word"),
    [(0.1, 0.001, "better"), (-0.1, 0.001, "worse"), (0.1, 0.06, "no difference shown")],
)
def test_a_difference_is_claimed_only_if_tested(difference, p, word):
    assert verdict_of(PairedTest(difference, Interval(-1, 1, 1, 10), p), p) == word


def copy_outcome(writer, cell: str, onto: str) -> None:
    """Give one cell the predictions of another."""
    cells = writer.path / "cells"
    (cells / onto / "embeddings.npz").write_bytes((cells / cell / "embeddings.npz").read_bytes())


def test_a_network_without_training_that_does_as_well_is_named_first(make_study):
    writer = make_study(methods=("moco", "frozen", "random"), sizes=("20",))
    assert answer(writer.path).not_beaten == ()
    copy_outcome(writer, answer(writer.path).best.cells[0], "frozen-resnet18-n20-s0")
    found = answer(writer.path)
    assert [c.other.method for c in found.not_beaten] == ["frozen"]
    assert found.caveats[0].startswith("That training helps at all: moco was not shown to do better than frozen")


def test_that_is_said_where_the_best_method_has_finished_with_fewer_images_alone(make_study):
    failed = {"moco-resnet18-weak-lr0.06-nall-s0": "failed"}
    settings = {"augmentations": ("weak",), "lrs": (0.06,), "sizes": ("20", "all"), "status_of": failed}
    writer = make_study(methods=("moco", "supervised", "frozen"), **settings)
    copy_outcome(writer, "moco-resnet18-weak-lr0.06-n20-s0", "frozen-resnet18-n20-s0")
    found = answer(writer.path)
    assert (found.best.name, found.best.per_class, found.gains[-1].one.name) == ("moco", "20", "supervised")
    assert [c.other.method for c in found.not_beaten] == ["frozen"]
    assert "moco was not shown to do better than frozen" in found.caveats[0]


def test_a_network_without_training_that_does_better_is_not_called_no_difference(make_study):
    writer = make_study(methods=("random", "simclr", "frozen"), sizes=("20",), augmentations=("weak",), lrs=(0.06,))
    best, frozen = answer(writer.path).best.cells[0], "frozen-resnet18-n20-s0"
    copy_outcome(writer, frozen, "random-resnet18-n20-s0")  # which then has its outcome, and frozen the best one's
    copy_outcome(writer, best, frozen)
    copy_outcome(writer, "random-resnet18-n20-s0", best)
    found = answer(writer.path)
    assert found.caveats[0].startswith(
        "That training helps at all: simclr was shown to do worse than frozen and was not shown to do better than "
        "random, without training. More epochs, more images or other learning rates may change that."
    )


def test_where_an_untrained_network_makes_no_mistake_more_training_is_not_advised(make_study):
    """Nothing that trains can do better there."""
    only = {"augmentations": ("weak",), "lrs": (0.06,), "sizes": ("20",)}
    writer = make_study(methods=("moco", "simclr", "random"), **only)
    for file in writer.path.glob("cells/*/embeddings.npz"):
        with np.load(file) as arrays:
            np.savez(file, **{**arrays, "predicted": arrays["labels"]})
    table = pd.read_csv(writer.path / "results.csv").assign(test_accuracy=1.0)
    table.to_csv(writer.path / "results.csv", index=False)
    first, alike, top, *_ = answer(writer.path).caveats
    assert first == "That training helps at all: moco was not shown to do better than random, without training."
    assert alike == "moco was not shown to differ from simclr."
    assert top == (
        "Nothing is left to gain on these test images, on which random, without training, reaches 1.000: harder ones, "
        "or fewer images per class, may tell methods apart."
    )


def test_a_difference_over_fewer_seeds_than_a_score_says_so(make_study):
    only = {"augmentations": ("weak",), "lrs": (0.06,), "sizes": ("20",), "seeds": 2}
    failed = {"moco-resnet18-weak-lr0.06-n20-s1": "failed"}
    found = answer(make_study(methods=("moco", "random"), status_of=failed, **only).path)
    assert [choice.seeds for choice in found.choices] == [1, 2]
    (gain,) = found.gains
    assert f"(moco {gain.test.difference:+.3f} over the seed that both have)" in headline(found)
    said = "Methods have different numbers of seeds: a score is the mean over all that a method has, a difference over"
    assert any(sentence.startswith(said) for sentence in found.caveats)
    assert "seeds" in _scores(found)
    alike = answer(make_study("alike", methods=("moco", "random"), **only).path)
    assert "that both have" not in headline(alike) + " ".join(alike.caveats)
    assert "seeds" not in _scores(alike)


def test_what_a_budget_left_out_is_said_and_a_size_that_it_left_half_finished_is_not_compared(make_study):
    unfinished = {f"byol-resnet18-weak-lr{lr}-nall-s0": "failed" for lr in ("0.01", "0.06", "10")}
    settings = {"methods": ("moco", "byol", "random"), "augmentations": ("weak",), "status_of": unfinished}
    writer = make_study(**settings)
    assert {c.per_class for c in answer(writer.path).choices if c.trains} == {"5", "20", "all"}
    run = {"command": "selfsup run", "budget": "10m", "left_out": "simclr; rate 3x"}
    (writer.path / "run.json").write_text(json.dumps({"runs": [{}, run]}))
    found = answer(writer.path)
    assert {c.per_class for c in found.choices if c.trains} == {"5", "20"}
    assert {c.per_class for c in found.choices if not c.trains} == {"5", "20", "all"}
    assert any(said.startswith("What --budget 10m left no time for: simclr; rate 3x.") for said in found.caveats)


def raw_p_value(writer, one: str, other: str) -> float:
    """McNemar's exact test between two cells, from their files."""
    right = []
    for cell in (one, other):
        with np.load(writer.path / "cells" / cell / "embeddings.npz") as arrays:
            right.append(arrays["labels"] == arrays["predicted"])
    uneven = int((right[0] != right[1]).sum())
    return float(binomtest(int((right[0] & ~right[1]).sum()), uneven).pvalue)


def test_a_gain_is_over_every_network_without_training_and_corrected_for_the_sizes(make_study):
    writer = make_study(methods=("moco", "frozen", "random", "reference"), sizes=("5", "20"))
    found = answer(writer.path)
    assert [gain.one.per_class for gain in found.gains] == ["5", "20"]
    largest = []
    for gain in found.gains:
        rivals = [c for c in found.choices if not c.trains and c.per_class == gain.one.per_class]
        assert gain.other == max(rivals, key=lambda choice: choice.test_score)
        largest.append(max(raw_p_value(writer, gain.one.cells[0], rival.cells[0]) for rival in rivals))
    (first, second), (smaller, larger) = found.gains, sorted(largest)
    holm = {smaller: 2 * smaller, larger: max(2 * smaller, larger)}
    for gain, p in zip((first, second), largest, strict=True):
        if gain.test.difference > 0:
            assert gain.p_adjusted == pytest.approx(min(1.0, holm[p]))


def test_where_training_helps_with_few_images_only_the_answer_says_with_how_many_and_by_how_much(make_study):
    writer = make_study(methods=("moco", "frozen", "random"), sizes=("5", "20", "all"))
    copy_outcome(writer, answer(writer.path).best.cells[0], "frozen-resnet18-nall-s0")
    found = answer(writer.path)
    assert [gain.verdict for gain in found.gains] == ["better", "better", "no difference shown"]
    few, some = (f"{gain.test.difference:+.3f}" for gain in found.gains[:2])
    assert headline(found).startswith(
        f"Training was shown to beat every network without it with 5 images per class (moco {few}) and 20 images per "
        f"class (moco {some}); with all images no difference was shown. "
    )


def test_a_reference_that_does_better_is_named_in_the_first_sentence(make_study):
    writer = make_study(methods=("moco", "frozen", "reference"), sizes=("20",))
    best = answer(writer.path).best.cells[0]
    copy_outcome(writer, best, "reference-vit_small.dino-n20-s0")
    assert headline(answer(writer.path)).startswith(
        "No self-supervised method was shown to do better than the frozen vit_small.dino, which costs no training. "
    )
    copy_outcome(writer, "reference-vit_small.dino-n20-s0", best)
    with np.load(writer.path / "cells" / best / "embeddings.npz") as arrays:
        content = dict(arrays)
    perfect = {**content, "predicted": content["labels"]}
    np.savez(writer.path / "cells" / "reference-vit_small.dino-n20-s0" / "embeddings.npz", **perfect)
    assert headline(answer(writer.path)).startswith(
        "The frozen vit_small.dino, which costs no training, does better than any self-supervised method"
    )


def test_networks_are_told_apart_where_there_are_several(make_study):
    writer = make_study(methods=("moco", "frozen", "random"), backbones=("resnet18", "vit_tiny@mae"), sizes=("20",))
    found = answer(writer.path)
    assert found.names == (
        "moco resnet18", "moco vit_tiny@mae", "frozen resnet18", "frozen vit_tiny@mae", "random resnet18",
        "random vit_tiny@mae",
    )  # fmt: skip
    assert found.best.name in headline(found)
    assert len(found.comparisons) == 5
    assert answer(make_study("of one network", methods=("moco", "frozen")).path).names == ("moco", "frozen")


def test_every_pair_is_tested_at_every_size(make_study):
    found = answer(make_study(methods=("moco", "simclr", "frozen"), sizes=("5", "20")).path)
    pairs = {(d.one.method, d.other.method, d.one.per_class, d.other.per_class) for d in found.pairwise}
    assert pairs == {
        (a, b, n, n) for a, b in (("moco", "simclr"), ("moco", "frozen"), ("simclr", "frozen")) for n in ("5", "20")
    }
    for tally in found.tallies:
        assert tally.better + tally.alike + tally.worse == 2
        back = next(t for t in found.tallies if (t.one, t.other) == (tally.other, tally.one))
        assert (back.better, back.alike, back.worse) == (tally.worse, tally.alike, tally.better)


def test_more_comparisons_made_together_need_larger_differences(make_study):
    found = answer(make_study(methods=("moco", "simclr", "byol", "frozen")).path)
    beside = {c.other.method: c.p_adjusted for c in found.comparisons}
    for pair in found.pairwise:
        if {pair.one.method, pair.other.method} == {"moco", "simclr"} and pair.one.per_class == "all":
            assert pair.p_adjusted >= beside["simclr"]


def test_equal_validation_accuracies_are_said(make_study):
    writer = make_study(methods=("moco", "byol"), augmentations=("weak",), lrs=(0.06,), sizes=("20",))
    table = writer.path / "results.csv"
    results = pd.read_csv(table)
    results["val_accuracy"] = 0.75
    results.to_csv(table, index=False)
    found = answer(writer.path)
    assert found.best.method == "moco"
    assert [choice.method for choice in found.ties] == ["byol"]
    assert any("byol has exactly the validation accuracy of moco" in sentence for sentence in found.caveats)


def test_images_of_a_group_are_one_unit_of_the_tests(make_study):
    writer = make_study(methods=("moco", "frozen"), sizes=("20",))
    alone = answer(writer.path).comparisons[0].test.interval
    np.savez(writer.path / "split.npz", groups=np.arange(1797) // 30)
    found = answer(writer.path)
    assert found.comparisons[0].test.interval.units == found.best.interval.units == 60
    assert alone.units == 360


def test_the_comparison_uses_the_predictions_of_the_chosen_cells(make_study):
    writer = make_study(methods=("moco", "frozen"), sizes=("all",))
    found = answer(writer.path)
    comparison = found.comparisons[0]

    def right(cell: str) -> np.ndarray:
        with np.load(writer.path / "cells" / cell / "embeddings.npz") as arrays:
            return arrays["labels"] == arrays["predicted"]

    best, other = right(found.best.cells[0]), right("frozen-resnet18-nall-s0")
    wins, losses = int((best & ~other).sum()), int((~best & other).sum())
    assert comparison.test.difference == pytest.approx((wins - losses) / len(best))
    assert comparison.test.p_value == pytest.approx(binomtest(wins, wins + losses).pvalue)
    assert comparison.verdict == "better"


def test_cells_with_other_test_images_are_not_compared(make_study):
    writer = make_study(methods=("moco", "frozen"), sizes=("all",))
    path = writer.path / "cells" / "frozen-resnet18-nall-s0" / "embeddings.npz"
    with np.load(path) as arrays:
        content = dict(arrays)
    np.savez(path, **content | {"indices": content["indices"] + 1})
    found = answer(writer.path)
    assert found.comparisons == ()
    assert any("not tested against frozen" in sentence for sentence in found.caveats)


def test_labels_that_supervised_needs_are_read_off_its_own_curve(make_study):
    writer = make_study(methods=("moco", "supervised"), augmentations=("weak",), lrs=(0.06,))
    found = answer(writer.path)
    by_size = {c.per_class: c.test_score for c in found.of("supervised")}
    for need in found.labels_needed:
        enough = [n for n in ("5", "20", "all") if by_size[n] >= need.score]
        assert need.supervised == (enough[0] if enough else None)
    assert [need.per_class for need in found.labels_needed] == ["5", "20", "all"]


def test_another_method_that_reads_labels_is_not_what_supervised_training_needs(make_study):
    writer = make_study(methods=("moco", "supervised", "supcon"), augmentations=("weak",), lrs=(0.06,), sizes=("5",))
    table = (writer.path / "results.csv").read_text().splitlines()
    column, rows = table[0].split(",").index("test_accuracy"), [line.split(",") for line in table[1:]]
    for row in rows:
        row[column] = {"moco": "0.5", "supervised": "0.3", "supcon": "0.6"}[row[1]]
    (writer.path / "results.csv").write_text("\n".join([table[0], *map(",".join, rows)]))
    assert [need.supervised for need in answer(writer.path).labels_needed] == [None]


def test_no_number_is_invented_where_supervised_never_reaches_it(make_study):
    writer = make_study(methods=("moco", "supervised"), augmentations=("weak",), lrs=(0.06,), sizes=("5", "all"))
    table = (writer.path / "results.csv").read_text().splitlines()
    header = table[0].split(",")
    column = header.index("test_accuracy")
    rows = [line.split(",") for line in table[1:]]
    for row in rows:
        row[column] = "0.1" if row[1] == "supervised" else "0.9"
    (writer.path / "results.csv").write_text("\n".join(",".join(row) for row in [header, *rows]))
    assert {need.supervised for need in answer(writer.path).labels_needed} == {None}


def test_a_training_that_serves_several_numbers_of_labels_is_paid_once(make_study):
    writer = make_study(methods=("simclr", "frozen"), augmentations=("weak",), lrs=(0.01, 0.06), seeds=2)
    table = pd.read_csv(writer.path / "results.csv")
    trained = table["method"] == "simclr"
    table.loc[trained, "train_seconds"] = 100 * table["lr"] + table["seed"]
    table.to_csv(writer.path / "results.csv", index=False)
    assert answer(writer.path).total_seconds == pytest.approx(1 + 2 + 6 + 7)


def test_a_choice_at_the_end_of_the_learning_rates_is_said(make_study):
    found = answer(make_study(methods=("moco",), lrs=(0.06, 0.1), augmentations=("weak",)).path)
    edge = {0.06: "smallest", 0.1: "largest"}[found.best.lr]
    assert any(f"the {edge} tried" in sentence for sentence in found.caveats)


def test_the_end_of_the_learning_rates_is_that_of_the_methods_own(make_study):
    """Multiples come to other rates for every method; those of another are not beyond."""
    writer = make_study(methods=("moco", "supervised"), lrs=(0.06, 0.1), augmentations=("weak",))
    table = pd.read_csv(writer.path / "results.csv")
    others = table["method"] == "supervised"
    table.loc[others, "lr"] = table.loc[others, "lr"].map({0.06: 0.001, 0.1: 1.0})
    table.to_csv(writer.path / "results.csv", index=False)
    found = answer(writer.path)
    assert found.best.method == "moco"
    assert any("tried; a" in sentence for sentence in found.caveats)


def test_one_seed_is_said(make_study):
    assert any(s.startswith("One seed") for s in answer(make_study(sizes=("20",)).path).caveats)
    assert not any(s.startswith("One seed") for s in answer(make_study("s", sizes=("20",), seeds=2).path).caveats)


def test_several_seeds_are_tested_together(make_study):
    found = answer(make_study(seeds=3, methods=("moco", "frozen"), sizes=("20",)).path)
    assert found.best.seeds == 3
    assert (found.best.interval.seeds, found.best.interval.units) == (3, 360)
    assert found.comparisons[0].test.interval.seeds == 3
    assert not any("seeds say little" in sentence for sentence in found.caveats)


def test_two_seeds_say_little(make_study):
    found = answer(make_study(seeds=2, methods=("moco", "frozen"), sizes=("20",)).path)
    assert any("2 seeds say little" in sentence for sentence in found.caveats)


def test_an_unlabelled_study_gets_a_weak_recommendation(make_study):
    found = answer(make_study(labelled=False, methods=("simclr", "moco", "frozen"), sizes=("all",)).path)
    assert found.criterion == "effective_rank"
    assert found.best.method == "moco"
    assert found.best.test_score is None
    assert found.comparisons == ()
    assert "Without labels there is no accuracy" in found.caveats[0]


def test_only_baselines_still_give_an_answer(make_study):
    assert answer(make_study(methods=("frozen", "random")).path).best.method == "frozen"


def test_nothing_finished_gives_no_answer(make_study):
    assert answer(make_study(methods=()).path).best is None


def test_a_folder_that_is_no_study_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no study in .*; give the folder that selfsup run wrote"):
        answer(tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 torn"])
def test_seeds_that_are_quoted_are_in_every_interval_and_test_or_none_is_made(make_study, content):
    writer = make_study(methods=("moco", "frozen", "random"), augmentations=("weak",), lrs=(0.06,), seeds=2)
    whole = answer(writer.path)
    assert all(choice.interval.seeds == 2 for choice in whole.choices)
    assert [gain.verdict for gain in whole.gains] == ["better"] * 3
    cell = "frozen-resnet18-n20-s1"
    file = writer.path / "cells" / cell / "embeddings.npz"
    file.unlink() if content is None else file.write_bytes(content)
    found = answer(writer.path)
    assert [(c.name, c.per_class) for c in found.choices if c.interval is None] == [("frozen", "20")]
    assert {(c.one.name, c.other.name) for c in found.pairwise if c.one.per_class == "20"} == {("moco", "random")}
    assert [gain.one.per_class for gain in found.gains] == ["5", "all"]  # beyond every network: not known of frozen
    assert found.unreadable == (cell,)
    assert found.caveats[0] == (
        f"What {cell} predicted is missing or damaged, so intervals and tests leave their settings out; to mend that, "
        "remove the cell's folder and run the same command again."
    )


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 torn"])
def test_a_damaged_split_does_not_make_every_image_stand_for_itself(make_study, content):
    writer = make_study(methods=("moco",), sizes=("20",))
    file = writer.path / "split.npz"
    np.savez(file, groups=np.arange(1797) // 30)
    assert answer(writer.path).best.interval.units == 60
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(UserError, match=r"split\.npz' is missing or damaged; remove it and run the same command again"):
        answer(writer.path)


def test_pickled_arrays_are_not_read(make_study):
    writer = make_study(methods=("moco",), sizes=("all",))
    cell = answer(writer.path).best.cells[0]
    path = writer.path / "cells" / cell / "embeddings.npz"
    with np.load(path) as arrays:
        content = dict(arrays)
    np.savez(path, **content | {"predicted": np.array([{"a": 1}], dtype=object)})
    assert read_study(writer.path).embeddings(cell) is None


def test_without_an_attentive_probe_methods_that_learn_from_masked_patches_are_not_ranked(make_study):
    def ranks_nowhere(writer) -> list[str]:
        return [sentence for sentence in answer(writer.path).caveats if "--evaluate attentive" in sentence]

    assert ranks_nowhere(make_study("without", sizes=("20",))) == []
    writer = make_study("masked", methods=("simclr", "mae"), sizes=("20",))
    (sentence,) = ranks_nowhere(writer)
    assert sentence.startswith("Where mae would rank: ")
    table = pd.read_csv(writer.path / "results.csv")
    table.assign(attentive_accuracy=table.test_accuracy).to_csv(writer.path / "results.csv", index=False)
    assert ranks_nowhere(writer) == []


# -- other metrics -----------------------------------------------------------------------------

#: Classes of the digits: "a" has seven of ten, "b" two, "c" one.
UNEQUAL = {"classes": ("a", "b", "c"), "class_of": (0, 0, 0, 0, 0, 0, 0, 1, 1, 2)}


def with_settings(writer, **settings: object) -> Path:
    """Settings added to the study's configuration."""
    with (writer.path / "config.toml").open("a") as file:
        file.write("".join(f"{name} = {value!r}\n" for name, value in settings.items()))
    return writer.path


def only_the_large_class(writer, cell: str) -> None:
    """Let a cell name everything after the largest class, which is right more often than not."""
    file = writer.path / "cells" / cell / "embeddings.npz"
    with np.load(file) as arrays:
        content = dict(arrays)
    np.savez(file, **content | {"predicted": np.zeros_like(content["predicted"])})


def test_the_metric_chooses_settings_and_the_best_method(make_study):
    writer = make_study(methods=("moco", "byol"), augmentations=("weak",), lrs=(0.06, 0.1), sizes=("20",))
    table = pd.read_csv(writer.path / "results.csv")
    table["val_accuracy"] = [0.9, 0.8, 0.7, 0.6]  # moco 0.06, 0.1; byol 0.06, 0.1
    table["val_macro_f1"] = [0.6, 0.7, 0.8, 0.9]
    table.to_csv(writer.path / "results.csv", index=False)
    assert (answer(writer.path).best.name, answer(writer.path).best.lr) == ("moco", 0.06)
    found = answer(with_settings(writer, metric="macro-f1"))
    assert (found.best.name, found.best.lr, found.criterion) == ("byol", 0.1, "val_macro_f1")
    assert found.best.test_score == table.set_index("cell").loc[found.best.cells[0], "test_macro_f1"]
    assert headline(found).startswith("Compared by macro F1. Best self-supervised method on these images: byol")


def test_a_network_that_names_the_largest_class_alone_is_beaten_by_balanced_accuracy(make_study):
    writer = make_study(methods=("moco", "random"), augmentations=("weak",), lrs=(0.06,), sizes=("20",), **UNEQUAL)
    only_the_large_class(writer, "random-resnet18-n20-s0")
    by_accuracy = answer(writer.path).comparisons[0]
    found = answer(with_settings(writer, metric="balanced-accuracy"))
    (balanced,) = found.comparisons
    labels, predicted = writer.labels, read_study(writer.path).embeddings(found.best.cells[0]).predicted
    expected = balanced_accuracy_score(labels, predicted) - 1 / 3
    assert balanced.test.difference == pytest.approx(expected)
    assert balanced.test.difference > 3 * by_accuracy.test.difference
    assert balanced.verdict == "better"


def test_balanced_accuracy_stands_beside_accuracy_where_classes_are_very_unequal(make_study):
    assert answer(make_study("equal", methods=("moco",), sizes=("20",)).path).beside is None
    writer = make_study(methods=("moco", "random"), sizes=("20",), **UNEQUAL)
    found = answer(writer.path)
    assert found.beside.words == "balanced accuracy"
    row = pd.read_csv(writer.path / "results.csv").set_index("cell").loc[found.best.cells[0]]
    assert found.best.beside == pytest.approx(row.test_balanced_accuracy)
    assert answer(with_settings(writer, metric="auroc")).beside.words == "accuracy"


def test_the_auroc_is_compared_by_the_probes_probabilities(make_study):
    writer = make_study(methods=("moco", "random"), augmentations=("weak",), lrs=(0.06,), sizes=("20",))
    found = answer(with_settings(writer, metric="auroc"))
    assert found.comparisons == ()
    rng = np.random.default_rng(0)
    areas = {}
    for cell in (found.best.cells[0], "random-resnet18-n20-s0"):
        probe = LinearProbe(np.zeros(64), np.ones(64), rng.normal(0, 0.1, (10, 64)), np.zeros(10), 1.0, 0.5)
        np.savez(writer.path / "cells" / cell / "probe.npz", **vars(probe))
        probabilities = probe.probabilities(writer.features.astype(np.float64))
        areas[cell] = roc_auc_score(writer.labels, probabilities, multi_class="ovr")
    (comparison,) = answer(writer.path).comparisons
    assert comparison.test.difference == pytest.approx(np.subtract(*areas.values()))


def test_a_metric_that_earlier_cells_have_not_is_refused(make_study):
    writer = make_study(methods=("moco",), sizes=("20",))
    table = pd.read_csv(writer.path / "results.csv")
    table.drop(columns="val_auroc").to_csv(writer.path / "results.csv", index=False)
    assert answer(writer.path).best is not None
    with pytest.raises(
        UserError, match=r"4 of the study's cells have no AUROC on validation images, .* leave out --metr"
    ):
        answer(with_settings(writer, metric="auroc"))


# -- equivalence -------------------------------------------------------------------------------


def test_close_methods_are_said_to_be_within_the_margin_and_others_not(make_study):
    writer = make_study(methods=("moco", "byol", "simclr"), augmentations=("weak",), lrs=(0.06,), sizes=("20",))
    best = answer(writer.path).best.cells[0]
    copy_outcome(writer, best, "byol-resnet18-weak-lr0.06-n20-s0")
    spoilt = writer.path / "cells" / "simclr-resnet18-weak-lr0.06-n20-s0" / "embeddings.npz"
    with np.load(writer.path / "cells" / best / "embeddings.npz") as arrays:
        content = dict(arrays)
    right = np.flatnonzero(content["predicted"] == content["labels"])[:14]
    wrong = np.flatnonzero(content["predicted"] != content["labels"])[:14]
    content["predicted"][wrong] = content["labels"][wrong]
    content["predicted"][right] = (content["labels"][right] + 1) % 10
    np.savez(spoilt, **content)
    silent = answer(writer.path)
    assert "within" not in headline(silent) + " ".join(silent.caveats)
    assert headline(silent).endswith("No difference from byol and simclr was shown.")
    # Of 360 test images none differs from byol; 14 are better and 14 worse with simclr.
    found = answer(with_settings(writer, margin=0.02))
    assert {c.other.name: c.within for c in found.comparisons} == {"byol": True, "simclr": False}
    assert headline(found).endswith(
        "It was shown to be within 2 points of byol. It was not shown to differ from simclr, nor to be within 2 points."
    )
    assert "moco was not shown to differ from simclr, nor to be within 2 points." in found.caveats
    # Two tests together: Holm takes the smaller p-value twice, and of simclr's nothing is taken.
    one_sided = norm.cdf(tango(14, 14, 360, 0.02))
    assert {c.other.name: c.p_within for c in found.comparisons}["simclr"] == pytest.approx(one_sided)


# -- nothing to compare with -------------------------------------------------------------------


def test_one_method_alone_is_compared_with_nothing_and_the_answer_says_so(make_study):
    found = answer(make_study(methods=("moco",), augmentations=("weak",), lrs=(0.06,), sizes=("20",)).path)
    assert headline(found) == (
        "moco, weak augmentation, learning rate 0.06, was compared with nothing: no other method has finished with 20 "
        "images per class. Add --references tf_efficientnet_lite0, or more --methods, to the same "
        "command to know what it is worth."
    )
