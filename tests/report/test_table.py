"""The answer as a table and as a sentence."""

from __future__ import annotations

import pytest

from selfsup.report.table import answer_table, headline
from selfsup.report.verdict import answer


def test_a_row_for_every_method_and_size(make_study):
    found = answer(make_study(methods=("moco", "frozen"), sizes=("5", "20")).path)
    table = answer_table(found)
    assert list(zip(table.method, table.per_class, strict=True)) == [
        ("moco", "5"), ("moco", "20"), ("frozen", "5"), ("frozen", "20")
    ]  # fmt: skip
    best = table.iloc[1]
    assert best.test_accuracy == pytest.approx(found.best.test_score)
    assert best.test_low < best.test_accuracy < best.test_high
    assert best.val_accuracy == pytest.approx(found.best.score)


def test_without_labels_the_table_shows_effective_rank(make_study):
    table = answer_table(answer(make_study(labelled=False, methods=("moco",), sizes=("all",)).path))
    assert table.effective_rank.notna().all()
    assert table.test_accuracy.isna().all()


def test_nothing_finished_gives_an_empty_table(make_study):
    found = answer(make_study(methods=()).path)
    assert answer_table(found).empty
    assert headline(found) == "No cell has finished well."


def test_the_headline_names_the_best_method(make_study):
    found = answer(make_study(methods=("moco", "byol", "supervised", "frozen")).path)
    named = "moco, weak augmentation, learning rate 0.06."
    assert headline(found).startswith(f"Best self-supervised method on these images: {named}")


def test_the_headline_says_where_there_was_nothing_to_choose_among(make_study):
    found = answer(make_study(methods=("moco", "supervised", "frozen")).path)
    assert headline(found).startswith("The only self-supervised method that has finished: moco, weak augmentation")


def test_the_headline_names_those_that_were_not_shown_to_differ(make_study):
    writer = make_study(methods=("moco", "byol", "frozen"), sizes=("20",))
    assert "No difference" not in headline(answer(writer.path))
    cells = writer.path / "cells"
    best = answer(writer.path).best.cells[0]
    for other in cells.glob("byol-*"):
        (other / "embeddings.npz").write_bytes((cells / best / "embeddings.npz").read_bytes())
    assert headline(answer(writer.path)).endswith("No difference from byol was shown.")


def test_the_headline_does_not_hide_a_network_without_training(make_study):
    writer = make_study(methods=("moco", "frozen"), sizes=("20",))
    cells = writer.path / "cells"
    best = answer(writer.path).best.cells[0]
    (cells / "frozen-resnet18-n20-s0" / "embeddings.npz").write_bytes((cells / best / "embeddings.npz").read_bytes())
    assert headline(answer(writer.path)).startswith(
        "No self-supervised method was shown to do better than the frozen backbone, without training. The only one"
    )


def test_only_baselines_have_a_headline_too(make_study):
    assert "frozen backbone, without training" in headline(answer(make_study(methods=("frozen", "random")).path))
