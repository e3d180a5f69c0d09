"""The map as a picture: every point in its place, in the colour and shape that the legend gives its class."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import HOSTILE, colours, drawn
from matplotlib.figure import Figure

from selfsup.figures.canvas import LIGHT
from selfsup.figures.tsne import tsne_picture

POINTS = np.array([[0.0, 0], [1, 1], [2, 0], [3, 1]])


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for found in figure.legends for text in found.get_texts()]


def test_every_class_has_its_points_in_a_colour_of_its_own() -> None:
    figure = drawn(tsne_picture, POINTS, np.array([1, 0, 1, 0]), ["a", "b"])
    first, second = figure.axes[0].collections
    assert np.asarray(first.get_offsets()).tolist() == [[1, 1], [3, 1]]
    assert np.asarray(second.get_offsets()).tolist() == [[0, 0], [2, 0]]
    assert figure.axes[0].get_title(loc="left") == "t-SNE of the embeddings"
    assert legend(figure) == ["a", "b"]
    (found,) = figure.legends
    assert [line.get_color() for line in found.get_lines()] == [
        *colours(first.get_facecolor()[:, :3]),
        *colours(second.get_facecolor()[:, :3]),
    ]
    assert len(set(colours(first.get_facecolor()[:, :3]) + colours(second.get_facecolor()[:, :3]))) == 2


def test_a_class_keeps_its_colour_where_others_are_missing() -> None:
    both = drawn(tsne_picture, POINTS, np.array([0, 0, 1, 1]), ["a", "b"]).axes[0].collections
    (alone,) = drawn(tsne_picture, POINTS, np.array([1, 1, 1, 1]), ["a", "b"]).axes[0].collections
    assert (alone.get_facecolor()[0] == both[1].get_facecolor()[0]).all()


def test_rows_without_a_place_are_neither_drawn_nor_named() -> None:
    points = np.array([[0.0, 0], [1, 1], [np.nan, np.nan]])
    figure = drawn(tsne_picture, points, np.array([0, 0, 1]), ["a", "b"])
    (group,) = figure.axes[0].collections
    assert np.asarray(group.get_offsets()).tolist() == [[0, 0], [1, 1]]
    assert legend(figure) == ["a"]


def test_images_of_no_class_are_grey_and_say_so() -> None:
    figure = drawn(tsne_picture, POINTS, np.array([-1, -1, 0, 0]), ["a"])
    assert legend(figure) == ["no class", "a"]
    assert colours(figure.axes[0].collections[0].get_facecolor()[:, :3]) == [LIGHT.muted]


def test_no_points_are_an_empty_map() -> None:
    figure = drawn(tsne_picture, np.empty((0, 2)), np.empty(0, int), [])
    assert not figure.axes[0].collections
    assert not figure.legends


@pytest.mark.parametrize(("classes", "columns"), [(1, 1), (25, 1), (26, 2), (100, 4)])
def test_the_legend_grows_in_columns_beside_the_map(classes: int, columns: int) -> None:
    points = np.random.default_rng(0).normal(size=(200, 2))
    figure = drawn(tsne_picture, points, np.arange(200) % classes, [f"class {i}" for i in range(classes)])
    assert len(legend(figure)) == classes
    boxes = [text.get_window_extent() for text in figure.legends[0].get_texts()]
    assert len({round(box.x0) for box in boxes}) == columns
    assert min(box.x0 for box in boxes) > figure.axes[0].get_window_extent().x1
    assert max(box.x1 for box in boxes) <= figure.bbox.x1


def test_any_text_may_be_a_class_name_or_a_title() -> None:
    n = len(HOSTILE)
    figure = drawn(tsne_picture, np.eye(n)[:, :2], np.arange(n), HOSTILE, title="$\\bad{$")
    assert legend(figure)[:4] == ["<b>", "$x_{$", "_hidden", "a�b�c"]
    assert figure.axes[0].get_title(loc="left") == "$\\bad{$"


def test_of_more_than_a_hundred_classes_the_legend_names_the_twenty_with_the_most_mistakes() -> None:
    """Two images of each class: both of the last ten are mistaken, and one of each of the ten before."""
    points = np.random.default_rng(0).normal(size=(600, 2))
    classes = np.arange(600) % 300
    wrong = np.arange(600) >= np.where(classes >= 290, 0, np.where(classes >= 280, 300, 600))
    figure = drawn(tsne_picture, points, classes, [f"class {i}" for i in range(300)], wrong=wrong)
    assert legend(figure) == ["280 others", *(f"class {i}" for i in (*range(290, 300), *range(280, 290)))]
    others, *named = figure.axes[0].collections
    assert [len(found.get_offsets()) for found in (others, *named)] == [560, *[2] * 20]
    assert colours(others.get_facecolor()[:, :3]) == [LIGHT.muted]
    looks = {(*found.get_facecolor()[0], len(found.get_paths()[0].vertices)) for found in named}
    assert len(looks) == 20
