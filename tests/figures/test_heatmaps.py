"""The figure of the study: every cell in its place, in the colour of its accuracy, or with what became of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from drawn import drawn, ticks
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from selfsup.figures.canvas import LIGHT, accuracy_colour
from selfsup.figures.heatmaps import Panel, Square, heatmaps

DONE = Square(mean=0.5, status="done")


def panel(*rows: tuple[Square, ...], method: str = "moco", augmentation: str = "weak") -> Panel:
    lrs, sizes = ("0.1", "1", "10")[: len(rows)], ("5", "20", "all")[: len(rows[0])]
    return Panel(method, augmentation, lrs, sizes, rows)


def alone(square: Square) -> Axes:
    return drawn(heatmaps, [panel((square,))]).axes[0]


def fills(axes: Axes) -> dict[tuple[int, int], str]:
    """Colours by column and row."""
    return {
        (round(patch.get_x() + 0.47), round(patch.get_y() + 0.46)): to_hex(patch.get_facecolor())
        for patch in axes.patches
        if patch.get_facecolor()[3]
    }


def frames(axes: Axes) -> list[tuple[int, int]]:
    """The squares that a dark frame is around."""
    return [
        (round(patch.get_x() + 0.45), round(patch.get_y() + 0.44))
        for patch in axes.patches
        if to_hex(patch.get_edgecolor()) == LIGHT.ink and patch.get_linewidth() > 1
    ]


def panels_of(figure: Figure) -> list[Axes]:
    """All but the scale."""
    return figure.axes[:-1]


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in panels_of(figure) if axes.axison]


def test_learning_rates_are_rows_and_sizes_columns_each_in_the_colour_of_its_accuracy() -> None:
    accuracy = [[0.05, 0.5, 0.9], [0.1, 0.3, 0.7]]
    figure = drawn(heatmaps, [panel(*(tuple(Square(mean=m, status="done") for m in row) for row in accuracy))])
    axes = figure.axes[0]
    assert ticks(axes) == (["5", "20", "all"], ["0.1", "1"])
    assert axes.yaxis_inverted()  # row 0 is at the top
    expected = {(x, y): accuracy_colour(accuracy[y][x])[0] for y in range(2) for x in range(3)}
    assert fills(axes) == expected
    assert len(set(expected.values())) == 6
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): ".05", (1, 0): ".50", (2, 0): ".90", (0, 1): ".10", (1, 1): ".30", (2, 1): ".70"}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("images per class", "learning rate")


def test_the_scale_is_viridis_from_0_to_1_for_every_panel() -> None:
    assert accuracy_colour(0.0)[0] == accuracy_colour(-1)[0] == "#440154"
    assert accuracy_colour(1)[0] == accuracy_colour(2.0)[0] == "#fde725"
    figure = drawn(heatmaps, [panel((Square(mean=m, status="done"),), method=f"m{m}") for m in (0.2, 0.3)])
    assert [fills(axes)[0, 0] for axes in figure.axes[:2]] == [accuracy_colour(0.2)[0], accuracy_colour(0.3)[0]]
    bar = figure.axes[-1]
    assert bar.get_ylabel() == "test accuracy"
    assert bar.get_ylim() == (0, 1)


def test_methods_are_rows_and_augmentations_columns_and_what_was_not_run_is_left_open() -> None:
    given = [
        panel((DONE,), method="moco", augmentation="weak"),
        panel((DONE,), method="byol", augmentation="weak"),
        panel((DONE,), method="byol", augmentation="simclr"),
    ]
    figure = drawn(heatmaps, given)
    assert titles(figure) == ["moco · weak", "byol · weak", "byol · simclr"]
    boxes = {axes.get_title(loc="left"): axes.get_position() for axes in panels_of(figure) if axes.axison}
    assert boxes["moco · weak"].y0 > boxes["byol · weak"].y1
    assert boxes["byol · weak"].x1 < boxes["byol · simclr"].x0
    assert sum(not axes.axison for axes in panels_of(figure)) == 1


@pytest.mark.parametrize(
    ("square", "text"),
    [
        (Square(mean=0.914, status="done"), ".91"),
        (Square(mean=1.0, status="done"), "1.00"),
        (Square(mean=0.999, status="done"), "1.00"),
        (Square(mean=0.9, sd=0.012, status="done"), ".90\n±.01"),
        (Square(status="diverged"), "div"),
        (Square(status="collapsed"), "col"),
        (Square(status="failed"), "fail"),
        (Square(status="pruned"), "prun"),
        (Square(), ""),
    ],
)
def test_says_what_became_of_a_cell(square: Square, text: str) -> None:
    axes = alone(square)
    assert [found.get_text() for found in axes.texts] == [text]
    unfinished = square.mean is None
    assert bool(fills(axes)) != unfinished
    assert [bool(patch.get_hatch()) for patch in axes.patches] == [unfinished and bool(square.status)]


def test_frames_the_chosen_learning_rate_and_no_other() -> None:
    chosen = Square(mean=0.9, status="done", chosen=True)
    axes = drawn(heatmaps, [panel((DONE, DONE), (DONE, chosen))]).axes[0]
    assert frames(axes) == [(1, 1)]


@pytest.mark.parametrize("columns", [1, 3])
def test_words_and_frames_stay_within_their_squares(columns: int) -> None:
    square = Square(mean=0.9, sd=0.012, status="done", chosen=True)
    given = [panel(*[(square,) * columns] * 2, method=method) for method in ("moco", "byol")]
    axes = drawn(heatmaps, given).axes[0]
    for patch in axes.patches:
        x, y = round(patch.get_x() + 0.45), round(patch.get_y() + 0.45)
        assert x - 0.5 < patch.get_x() < patch.get_x() + patch.get_width() < x + 0.5
        assert y - 0.5 < patch.get_y() < patch.get_y() + patch.get_height() < y + 0.5
    squares = [patch.get_window_extent() for patch in axes.patches if patch.get_facecolor()[3]]
    for box, text in zip(squares, axes.texts, strict=True):
        written = text.get_window_extent()
        assert box.x0 <= written.x0 <= written.x1 <= box.x1
        assert box.y0 <= written.y0 <= written.y1 <= box.y1


@pytest.mark.parametrize("chosen", [True, False])
def test_title_says_how_learning_rates_are_chosen_where_one_was(chosen: bool) -> None:
    shown = drawn(heatmaps, [panel((DONE,)), panel((replace(DONE, chosen=chosen),))]).get_suptitle()
    assert ("chosen on validation accuracy" in shown) == chosen


def test_panels_may_differ_in_learning_rates_and_have_any_name() -> None:
    figure = drawn(heatmaps, [panel((DONE,)), panel((DONE, DONE), (DONE, DONE), (DONE, DONE), method="$\\strong{$")])
    assert [len(fills(axes)) for axes in figure.axes[:2]] == [1, 6]
    assert titles(figure)[1] == "$\\strong{$ · weak"
