"""The critical-difference diagram: methods at their average ranks, bars over those that are not told apart."""

from __future__ import annotations

import pytest
from drawn import drawn, points, words
from matplotlib.axes import Axes

from selfsup.figures.canvas import LIGHT
from selfsup.figures.critical import critical_difference

METHODS, AVERAGE = ["moco", "byol", "simclr", "$x_{$"], [1.25, 1.75, 3.0, 4.0]


def diagram(groups: list[tuple[int, int]], difference: float = 1.1) -> Axes:
    return drawn(critical_difference, METHODS, AVERAGE, groups, difference).axes[0]


def bars(axes: Axes) -> list[list[float]]:
    """Ends of the bars, from above."""
    found = [line for line in axes.lines if line.get_linewidth() == 4]
    return [list(line.get_xdata()) for line in sorted(found, key=lambda line: -line.get_ydata()[0])]


def test_a_bar_spans_the_ranks_of_every_group_that_is_not_told_apart() -> None:
    first, second = bars(diagram([(0, 1), (1, 3)]))
    assert first == pytest.approx([1.25, 1.75], abs=0.05)
    assert second == pytest.approx([1.75, 4.0], abs=0.05)
    assert bars(diagram([])) == []


def test_every_method_hangs_at_its_rank_the_better_half_on_the_left() -> None:
    axes = diagram([(0, 1)])
    names = ["moco 1.25", "byol 1.75", "simclr 3.00", "$x_{$ 4.00"]
    places = {text.get_text(): text.get_position() for text in axes.texts}
    assert set(names) <= set(places)
    assert all(places[name][0] < 1 for name in names[:2])
    assert all(places[name][0] > 4 for name in names[2:])
    strings = [points(line) for line in axes.lines if line.get_color() == LIGHT.line]
    assert [string[0] for string in strings] == [(mean, 0) for mean in AVERAGE]
    assert [(1, 0), (4, 0)] in [points(line) for line in axes.lines]  # the line that they hang from
    assert max(y for line in axes.lines if line.get_linewidth() == 4 for y in line.get_ydata()) < 0
    assert [string[-1][1] for string in strings] == [places[name][1] for name in names]
    heights = [places[name][1] for name in names]
    assert heights[0] > heights[1]
    assert heights[3] > heights[2]


def test_the_scale_counts_ranks_and_the_critical_difference_is_drawn_to_it() -> None:
    axes = diagram([], difference=1.1)
    assert words(axes)[:5] == ["1", "2", "3", "4", "critical difference 1.10"]
    assert [text.get_position()[0] for text in axes.texts[:4]] == [1, 2, 3, 4]
    (yardstick,) = [line for line in axes.lines if line.get_color() == LIGHT.accent]
    assert list(yardstick.get_xdata()) == pytest.approx([1, 2.1])
    (beyond,) = [line for line in diagram([], difference=9).lines if line.get_color() == LIGHT.accent]
    assert list(beyond.get_xdata()) == [1, 4]  # no farther than the scale
