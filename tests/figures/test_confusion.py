"""The confusion matrix: true classes in rows, each shaded by its share of its row, counts written in."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from drawn import HOSTILE, drawn, ticks
from matplotlib.axes import Axes

from selfsup.evaluation.confusions import Confusions
from selfsup.figures.canvas import LIGHT
from selfsup.figures.confusion import confusion_matrix

NAMES = ["cat", "dog", "ox"]
COUNTS = [[3, 1, 0], [0, 0, 0], [2, 2, 4]]


def matrix(counts=COUNTS, names=NAMES, **options) -> Axes:
    pairs = np.argwhere(np.asarray(counts) > 0)
    confusions = Confusions(*pairs.T, np.asarray(counts)[tuple(pairs.T)])
    return drawn(confusion_matrix, confusions, names, **options).axes[0]


def test_rows_are_true_classes_and_columns_what_was_predicted() -> None:
    axes = matrix()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert ticks(axes) == (NAMES, NAMES)
    assert axes.yaxis_inverted()  # the first class is at the top


def test_a_square_is_shaded_by_its_share_of_the_row_and_not_by_its_count() -> None:
    with np.errstate(all="raise"):  # the second class has no images
        (image,) = matrix().images
    np.testing.assert_allclose(image.get_array(), [[0.75, 0.25, 0], [0, 0, 0], [0.25, 0.25, 0.5]])
    assert image.get_clim() == (0, 1)
    assert image.cmap(0.0)[:3] == (1, 1, 1)
    assert image.cmap(1.0)[:3] == pytest.approx([0x1F / 255, 0x5F / 255, 0x99 / 255])


def test_counts_are_written_where_there_are_any_in_a_colour_that_can_be_read() -> None:
    found = {text.get_position(): (text.get_text(), text.get_color()) for text in matrix().texts}
    assert found == {
        (0, 0): ("3", LIGHT.paper),  # on the dark square of a share above a half
        (1, 0): ("1", LIGHT.ink),
        (0, 2): ("2", LIGHT.ink),
        (1, 2): ("2", LIGHT.ink),
        (2, 2): ("4", LIGHT.ink),
    }


@pytest.mark.parametrize(("classes", "written"), [(2, 4), (20, 400), (21, 0), (100, 0)])
def test_many_classes_fit_and_have_no_numbers(classes: int, written: int) -> None:
    axes = matrix(np.ones((classes, classes), int), [f"class {i}" for i in range(classes)])
    assert len(axes.texts) == written
    width, height = axes.figure.get_size_inches()
    assert 3 < height < width < 15
    boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in itertools.pairwise(boxes))


def test_of_hundreds_of_classes_those_with_the_most_confusions_are_drawn_with_shares_of_all_their_images() -> None:
    counts = 6 * np.eye(250, dtype=int)
    for number in range(100, 160, 2):
        counts[number, number + 1] = 2
    counts[7, 240] = 18  # of which both are drawn; 15 pairs of the others fill up
    axes = matrix(counts, [f"class {i}" for i in range(250)])
    numbers = [7, *range(100, 128), 240]
    assert ticks(axes) == ([f"class {i}" for i in numbers],) * 2
    (image,) = axes.images
    share = image.get_array()
    assert share[0, 29] == 18 / 24
    assert share[numbers.index(100), numbers.index(101)] == 2 / 8
    assert share[29].sum() == 1


@pytest.mark.parametrize(("names", "turned"), [(["cat", "dog", "ox"], 0), (["a cat", "dog", "ox"], 90)])
def test_long_names_below_the_columns_stand_upright(names: list[str], turned: int) -> None:
    axes = matrix(names=names)
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {turned}
    assert axes.figure.axes[1].get_ylabel() == "share of the true class"


def test_any_text_may_be_a_class_name_or_a_title() -> None:
    axes = matrix(np.eye(len(HOSTILE), dtype=int), HOSTILE, title="$\\bad{$")
    names, _ = ticks(axes)
    assert names[:3] == ["<b>", "$x_{$", "_hidden"]
    assert names[3:5] == ["a�b�c", "�"]
    assert (len(names[8]), names[8][0], names[8][-1]) == (20, "x", "x")
    assert axes.get_title(loc="left") == "$\\bad{$"
