"""What the external test says of each method, and how much is lost there."""

from __future__ import annotations

import json

import numpy as np
import pytest

from page_reader import PageReader
from selfsup.report.page import write_report
from selfsup.report.recorded import read_study
from selfsup.report.statistics import difference_interval, score_interval, wilson
from selfsup.report.table import external_test
from selfsup.report.verdict import answer, answer_study


def test_the_interval_of_a_difference_is_that_of_newcombes_paper() -> None:
    # Newcombe 1998, table II, (a): 56 of 70 and 48 of 80, method 10.
    one, other = (score_interval((np.arange(n) < k)[None]) for k, n in ((56, 70), (48, 80)))
    found = difference_interval(56 / 70, one, 48 / 80, other)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


@pytest.fixture
def tested(make_study):
    """A study with 40 external images of the first four of ten classes, of which moco names 28 rightly and random 8."""
    writer = make_study(methods=("moco", "random"), sizes=("5", "all"), lrs=(0.06,), augmentations=("weak",))
    about = json.loads((writer.path / "dataset.json").read_text())
    counts = {name: 10 * (number < 4) for number, name in enumerate(writer.classes)}
    about["external"] = {"name": "there", "store": "", "class_counts": counts}
    (writer.path / "dataset.json").write_text(json.dumps(about))
    labels = np.repeat(np.arange(4), 10)
    for method, right in (("moco-resnet18-weak-lr0.06", 28), ("random-resnet18", 8)):
        arrays = {"indices": np.arange(40), "labels": labels, "predicted": np.where(np.arange(40) < right, labels, 9)}
        np.savez(writer.path / f"cells/{method}-nall-s0/external.npz", **arrays)
    return writer


def test_methods_are_quoted_beside_the_test_images_of_the_same_classes(tested) -> None:
    found = answer(tested.path)
    assert [e.choice.name for e in found.external] == ["moco", "random"]
    for e, right in zip(found.external, (28, 8), strict=True):
        with np.load(tested.path / f"cells/{e.choice.cells[0]}/embeddings.npz") as arrays:
            same = arrays["labels"] < 4
            here = (arrays["labels"] == arrays["predicted"])[same].mean()
        assert (e.score, e.here) == pytest.approx((right / 40, here))
        assert (e.interval.low, e.interval.high) == pytest.approx(wilson(right / 40, 40, 1.959964), abs=1e-6)
        assert e.change.low < e.score - e.here < e.change.high


def test_nothing_is_chosen_by_the_external_test(tested) -> None:
    before = answer(tested.path)
    for file in tested.path.glob("cells/*/external.npz"):
        file.unlink()
    after = answer(tested.path)
    assert after.external == ()
    assert after.unreadable == ("moco-resnet18-weak-lr0.06-nall-s0", "random-resnet18-nall-s0")
    assert (before.best, before.choices, before.pairwise) == (after.best, after.choices, after.pairwise)


def test_the_external_test_is_of_the_studys_metric(tested) -> None:
    moco = answer_study(read_study(tested.path, {"metric": "balanced-accuracy"})).external[0]
    assert moco.score == pytest.approx((1 + 1 + 0.8 + 0) / 4)


def test_page_and_terminal_say_what_is_lost(tested) -> None:
    found = answer(tested.path)
    moco = found.external[0]
    lost = moco.here - moco.score
    sentence = external_test(found, "there")
    assert f"moco reaches 0.700 (0.546–0.819), {lost:.3f} less than on the test images of the same classes." in sentence
    page = PageReader(write_report(tested.path).read_text(encoding="utf-8")).visible
    assert "It has 40 images of 4 of the 10 classes" in page
    assert "Nothing was chosen by it." in page
