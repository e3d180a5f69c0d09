"""The answer of a study: the word for a difference, the labels saved, and what was not shown."""

from __future__ import annotations

import numpy as np
import pytest

from selfsup.errors import UserError
from selfsup.report import answer
from selfsup.report.reading import read_study
from selfsup.report.statistics import PairedTest
from selfsup.report.verdict import verdict_of


def test_the_best_self_supervised_method_is_recommended(make_study):
    found = answer(make_study().path)
    assert (found.best.method, found.best.per_class) == ("moco", "all")
    # Supervised training scores higher here, and is a baseline all the same.
    assert max(found.choices, key=lambda c: c.score).method == "supervised"


@pytest.mark.parametrize(
    ("wins", "losses", "p", "agree", "word"),
    [
        (30, 5, 0.001, True, "better"),
        (5, 30, 0.001, True, "worse"),
        (30, 5, 0.06, True, "no difference shown"),
        (30, 5, 0.001, False, "no difference shown"),
    ],
)
def test_a_difference_is_claimed_only_if_tested_and_repeated(wins, losses, p, agree, word):
    assert verdict_of(PairedTest(wins, losses, p, agree, 3), p) == word


def test_the_comparison_uses_the_predictions_of_the_chosen_cells(make_study):
    writer = make_study(methods=("moco", "frozen"), sizes=("all",))
    found = answer(writer.path)
    comparison = found.comparisons[0]

    def right(cell: str) -> np.ndarray:
        with np.load(writer.path / "cells" / cell / "embeddings.npz") as arrays:
            return arrays["labels"] == arrays["predicted"]

    best, other = right(found.best.cells[0]), right("frozen-nall-s0")
    assert comparison.test.wins == int((best & ~other).sum())
    assert comparison.test.losses == int((~best & other).sum())
    assert comparison.verdict == "better"


def test_cells_with_other_test_images_are_not_compared(make_study):
    writer = make_study(methods=("moco", "frozen"), sizes=("all",))
    path = writer.path / "cells" / "frozen-nall-s0" / "embeddings.npz"
    with np.load(path) as arrays:
        content = dict(arrays)
    np.savez(path, **content | {"indices": content["indices"] + 1})
    found = answer(writer.path)
    assert found.comparisons == ()
    assert any("not tested against frozen" in sentence for sentence in found.not_shown)


def test_labels_that_supervised_needs_are_read_off_its_own_curve(make_study):
    writer = make_study(methods=("moco", "supervised"), augmentations=("weak",), lrs=(0.06,))
    found = answer(writer.path)
    by_size = {c.per_class: c.test_accuracy for c in found.of("supervised")}
    for need in found.labels_needed:
        enough = [n for n in ("5", "20", "all") if by_size[n] >= need.accuracy]
        assert need.supervised == (enough[0] if enough else None)
    assert [need.per_class for need in found.labels_needed] == ["5", "20", "all"]


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


def test_a_choice_at_the_end_of_the_learning_rates_is_said(make_study):
    found = answer(make_study(methods=("moco",), lrs=(0.06, 0.1), augmentations=("weak",)).path)
    edge = {0.06: "smallest", 0.1: "largest"}[found.best.lr]
    assert any(f"the {edge} tried" in sentence for sentence in found.not_shown)


def test_one_seed_is_said(make_study):
    assert any(s.startswith("One seed") for s in answer(make_study(sizes=("20",)).path).not_shown)
    assert not any(s.startswith("One seed") for s in answer(make_study("s", sizes=("20",), seeds=2).path).not_shown)


def test_several_seeds_give_intervals_over_seeds(make_study):
    found = answer(make_study(seeds=3, methods=("moco", "frozen"), sizes=("20",)).path)
    assert found.best.seeds == 3
    assert found.best.interval.kind == "t"
    assert found.comparisons[0].test.seeds == 3


def test_an_unlabelled_study_gets_a_weak_recommendation(make_study):
    found = answer(make_study(labelled=False, methods=("simclr", "moco", "frozen"), sizes=("all",)).path)
    assert found.criterion == "effective_rank"
    assert found.best.method == "moco"
    assert found.best.test_accuracy is None
    assert found.comparisons == ()
    assert "Without labels there is no accuracy" in found.not_shown[0]


def test_only_baselines_still_give_an_answer(make_study):
    assert answer(make_study(methods=("frozen", "random")).path).best.method == "frozen"


def test_nothing_finished_gives_no_answer(make_study):
    assert answer(make_study(methods=()).path).best is None


def test_a_folder_that_is_no_study_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no study in .*; give the folder that selfsup run wrote"):
        answer(tmp_path)


def test_a_damaged_embeddings_file_is_left_out(make_study):
    writer = make_study(methods=("moco", "frozen"), sizes=("all",))
    (writer.path / "cells" / "frozen-nall-s0" / "embeddings.npz").write_bytes(b"PK\x03\x04 torn")
    assert answer(writer.path).comparisons == ()


def test_pickled_arrays_are_not_read(make_study):
    writer = make_study(methods=("moco",), sizes=("all",))
    cell = answer(writer.path).best.cells[0]
    path = writer.path / "cells" / cell / "embeddings.npz"
    with np.load(path) as arrays:
        content = dict(arrays)
    np.savez(path, **content | {"predicted": np.array([{"a": 1}], dtype=object)})
    assert read_study(writer.path).embeddings(cell) is None
