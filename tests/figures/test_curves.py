"""Accuracy against labels: every method a line with its name at the end, baselines grey and dashed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from drawn import drawn, points, ticks
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.text import Text

from selfsup.figures.canvas import LIGHT
from selfsup.figures.curves import Curve, score_curves, spread

NAN = (np.nan, np.nan)
TICKS = {5.0: "5", 100.0: "100"}
MOCO = Curve("moco", (5, 100), (0.5, 0.9), (0.4, 0.8), (0.6, 0.95))
BYOL = Curve("byol", (5, 100), (0.45, 0.85), NAN, NAN)
FROZEN = Curve("frozen", (5, 100), (0.3, 0.6), NAN, NAN, baseline=True)


def curves(*given: Curve, **options) -> Axes:
    return drawn(score_curves, given, TICKS, **options).axes[0]


def test_every_curve_is_a_line_through_its_accuracies_over_a_logarithmic_axis() -> None:
    axes = curves(MOCO, BYOL)
    assert [points(line) for line in axes.lines] == [[(5, 0.5), (100, 0.9)], [(5, 0.45), (100, 0.85)]]
    assert axes.get_xscale() == "log"
    assert ticks(axes)[0] == ["5", "100"]
    assert axes.get_xlabel() == "training images per class (logarithmic)"
    low, high = axes.get_ylim()
    assert low < 0.4 < 0.95 < high


def test_a_baseline_is_dashed_and_grey_and_methods_have_colours() -> None:
    moco, byol, frozen = curves(MOCO, BYOL, FROZEN).lines
    assert [line.is_dashed() for line in (moco, byol, frozen)] == [False, False, True]
    assert frozen.get_color() == LIGHT.muted
    assert len({moco.get_color(), byol.get_color(), frozen.get_color()}) == 3


def test_eight_methods_have_colours_of_their_own_and_none_is_grey() -> None:
    lines = curves(*(Curve(f"m{i}", (5, 100), (0.1 * i, 0.9), NAN, NAN) for i in range(8))).lines
    found = {line.get_color() for line in lines}
    assert len(found) == 8
    assert min(np.ptp([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) for colour in found) > 50


def test_the_band_lies_between_its_ends_and_is_named_in_the_title() -> None:
    axes = curves(MOCO, BYOL, band="95 % intervals")
    (band,) = axes.collections  # of the one that has an interval
    (path,) = band.get_paths()
    corners = {(round(x), round(y, 3)) for x, y in path.vertices}
    assert corners == {(5, 0.4), (5, 0.6), (100, 0.8), (100, 0.95)}
    assert axes.get_title(loc="left") == "test accuracy, 95 % intervals shaded"
    assert curves(BYOL).get_title(loc="left") == "test accuracy"


def test_names_stand_at_the_ends_of_their_lines_and_do_not_overlap() -> None:
    together = [Curve(name, (5, 100), (0.5, y), NAN, NAN) for name, y in (("a", 0.9), ("b", 0.9), ("c", 0.905))]
    axes = curves(*together, FROZEN)
    ends = {text.get_text(): text.xy for text in axes.texts}
    assert ends == {"a": (100, 0.9), "b": (100, 0.9), "c": (100, 0.905), "frozen": (100, 0.6)}
    boxes = sorted((Text.get_window_extent(text) for text in axes.texts), key=lambda box: box.y0)  # without its arrow
    assert all(above.y0 >= below.y1 for below, above in itertools.pairwise(boxes))
    assert boxes[0].y0 < axes.transData.transform((100, 0.6))[1] < boxes[0].y1
    right = axes.get_window_extent().x1
    assert all(right < box.x0 < box.x1 <= axes.figure.bbox.x1 for box in boxes)


def test_what_leads_to_a_name_is_thin_grey_and_dotted_and_the_name_has_its_curves_marker() -> None:
    axes = curves(MOCO, BYOL)
    looks = {line.get_ydata()[-1]: (line.get_color(), line.get_marker()) for line in axes.lines}
    markers = {key.get_ydata()[0]: (key.get_color(), key.get_marker()) for key in axes.figure.artists}
    assert markers == {text.xyann[1]: looks[text.xy[1]] for text in axes.texts}
    assert {leader.xy2[1]: leader.xy1 for leader in axes.patches} == {text.xyann[1]: text.xy for text in axes.texts}
    for leader in axes.patches:
        assert (leader.get_edgecolor(), leader.get_linestyle()) == (to_rgba(LIGHT.muted), ":")
        assert leader.get_linewidth() < axes.lines[0].get_linewidth() / 2


def test_ticks_that_would_touch_are_written_on_two_lines() -> None:
    crowded = {5.0: "5", 100.0: "100", 101.0: "all", 1000.0: "1000"}
    axes = drawn(score_curves, [MOCO], crowded).axes[0]
    assert ticks(axes)[0] == ["5", "100", "\nall", "1000"]


def test_the_width_is_as_asked_for() -> None:
    assert drawn(score_curves, [MOCO], TICKS, width=3.9).get_figwidth() == 3.9


def test_nothing_to_draw_is_an_empty_picture() -> None:
    axes = curves()
    assert not axes.lines
    assert not axes.texts


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.2))
def test_values_moved_apart_keep_their_order_and_their_mean(values: list[float], gap: float) -> None:
    places = spread(sorted(values), gap)
    assert all(np.diff(places) >= gap - 1e-9)
    assert np.sum(places) == pytest.approx(np.sum(values), abs=1e-9)


def test_values_are_moved_apart_only_as_far_as_they_must_be() -> None:
    places = spread([0.2, 0.90, 0.90, 0.905], gap=0.05)
    assert min(np.diff(places)) >= 0.05 - 1e-12
    assert places[0] == 0.2
    assert np.mean(places[1:]) == pytest.approx(np.mean([0.90, 0.90, 0.905]))
    assert spread([0.1, 0.5, 0.9], gap=0.05) == [0.1, 0.5, 0.9]
