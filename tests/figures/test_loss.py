"""The training curves: what was measured and nothing else, at its epochs, and where the loss broke."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import drawn, points, words
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from selfsup.figures.canvas import DARK, LIGHT
from selfsup.figures.loss import loss_curve


def panels(theme=LIGHT, **columns) -> dict[str, Axes]:
    """The panels by name, of a training of three epochs."""
    log = {"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], **columns}
    return {axes.get_ylabel().replace("\n", " "): axes for axes in drawn(loss_curve, log, theme=theme).axes}


@pytest.mark.parametrize(
    ("column", "name", "from_zero"),
    [
        ("embedding_std", "embedding std", True),
        ("effective_rank", "effective rank", True),
        ("knn_accuracy", "kNN accuracy", False),
        ("lr", "learning rate", True),
        ("momentum", "momentum", False),
    ],
)
def test_shows_what_was_measured_and_nothing_else(column: str, name: str, from_zero: bool) -> None:
    found = panels(**{column: [0.4, 0.5, 0.9]})
    assert list(found) == ["loss", name]
    assert [points(line) for line in found["loss"].lines] == [[(1, 3), (2, 2), (3, 1)]]
    assert [points(line) for line in found[name].lines] == [[(1, 0.4), (2, 0.5), (3, 0.9)]]
    low, high = found[name].get_ylim()
    assert (low == 0) == from_zero
    assert low < 0.4 < 0.9 < high
    assert list(panels(**{column: [None] * 3})) == ["loss"]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_the_loss_stands_out_on_the_paper_of_its_theme(theme) -> None:
    found = panels(theme, lr=[0.1, 0.2, 0.3])
    assert found["loss"].lines[0].get_color() == theme.accent
    assert found["learning rate"].lines[0].get_color() == theme.muted
    assert drawn(loss_curve, {"epoch": [1], "loss": [1.0]}, theme=theme).get_facecolor()[:3] == pytest.approx(
        [int(theme.paper[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    )


def test_every_panel_makes_the_picture_taller_by_as_much() -> None:
    def height(**columns) -> float:
        log = {"epoch": [1, 2], "loss": [2.0, 1.0], **columns}
        return drawn(loss_curve, log).get_figheight()

    none, one, two = height(), height(lr=[1, 1]), height(lr=[1, 1], momentum=[1, 1])
    assert none < one
    assert two - one == pytest.approx(one - none)


def test_both_similarities_are_in_one_panel_and_named_at_their_ends() -> None:
    found = panels(positive_similarity=[0.1, 0.5, 0.9], negative_similarity=[0.1, 0.1, 0.2])
    assert list(found) == ["loss", "similarity"]
    axes = found["similarity"]
    assert [points(line)[-1] for line in axes.lines] == [(3, 0.9), (3, 0.2)]
    assert [line.get_color() for line in axes.lines] == [LIGHT.accent, LIGHT.muted]
    assert words(axes) == ["positive", "negative"]
    assert [text.xy for text in axes.texts] == [(3, 0.9), (3, 0.2)]
    assert [text.get_color() for text in axes.texts] == [LIGHT.accent, LIGHT.muted]
    assert words(panels(positive_similarity=[0.1, 0.5, 0.9])["similarity"]) == []


@pytest.mark.parametrize(("positive", "sides"), [(0.9, ["bottom", "top"]), (0.1, ["top", "bottom"])])
def test_the_name_of_the_upper_line_is_above_it_and_that_of_the_lower_one_below(positive: float, sides: list) -> None:
    """Where lines meet, names between them would be written over each other."""
    axes = panels(positive_similarity=[0.9, 0.5, positive], negative_similarity=[0.1, 0.1, 0.2])["similarity"]
    assert [text.get_verticalalignment() for text in axes.texts] == sides


def test_a_value_taken_now_and_then_is_joined_across_the_epochs_between() -> None:
    (line,) = panels(knn_accuracy=[0.1, None, 0.9])["kNN accuracy"].lines
    assert points(line) == [(1, 0.1), (3, 0.9)]


def test_a_value_that_is_not_finite_is_left_out_beside_those_that_are() -> None:
    found = panels(embedding_std=[0.4, np.inf, 0.5])
    assert [points(line) for line in found["embedding std"].lines] == [[(1, 0.4), (3, 0.5)]]
    assert found["embedding std"].get_ylim() == pytest.approx((0, 0.55))


def test_says_at_which_epoch_the_loss_was_not_finite() -> None:
    axes = panels(loss=[3, np.nan, np.inf])["loss"]
    curve, mark = axes.lines
    assert points(curve) == [(1, 3)]
    assert list(mark.get_xdata()) == [2, 2]
    assert list(mark.get_ydata()) == [0, 1]  # from the bottom to the top
    assert words(axes) == ["not finite at epoch 2 "]
    assert len(panels()["loss"].lines) == 1


def test_a_line_too_short_to_be_seen_has_points() -> None:
    def markers(figure: Figure) -> list[str]:
        return [line.get_marker() for line in figure.axes[0].lines]

    assert markers(drawn(loss_curve, {"epoch": [1], "loss": [2.0]})) == ["o"]
    assert markers(drawn(loss_curve, {"epoch": [1, 2, 3], "loss": [2.0, 1.0, 0.5]})) == ["None"]


def test_any_text_may_be_a_title() -> None:
    figure = drawn(loss_curve, {"epoch": [1], "loss": [2.0]}, title="$\\bad{$")
    assert figure.get_suptitle() == "$\\bad{$"
