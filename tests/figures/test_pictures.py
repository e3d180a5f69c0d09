"""PNG pictures: they decode, survive any text, and show what they are given."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from matplotlib import _pylab_helpers
from PIL import Image

from selfsup import figures
from selfsup.figures import DARK, LIGHT, Curve, Panel, Square
from selfsup.figures.canvas import accuracy_colour, series_style, shorten
from selfsup.figures.curves import spread

HOSTILE = ["<b>", "$x_{$", "_hidden", "a\nb\tc", "\udcff", "日本語", "{}@{x}", "\\frac", "x" * 300, ""]


def decode(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"))


def has_colour(png: bytes, colour: str, tolerance: int = 6) -> bool:
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return bool((np.abs(decode(png).astype(int) - wanted).max(axis=2) <= tolerance).any())


def grid_panel(square: Square) -> Panel:
    return Panel("moco", "weak", ("0.1",), ("5",), ((square,),))


def training_log(**columns):
    return {"epoch": [1, 2, 3], "loss": [3, 2, 1], **columns}


class TestLossCurve:
    @pytest.mark.parametrize("column", ["embedding_std", "effective_rank", "knn_accuracy", "lr", "momentum"])
    def test_shows_what_was_measured_and_nothing_else(self, column):
        measured = decode(figures.loss_curve(training_log(**{column: [0.1, 0.5, 0.9]})))
        unknown = decode(figures.loss_curve(training_log(**{column: [None] * 3})))
        assert measured.shape[0] > unknown.shape[0]
        assert (unknown == decode(figures.loss_curve(training_log()))).all()

    def test_both_similarities_are_in_one_strip(self):
        one = decode(figures.loss_curve(training_log(positive_similarity=[0.1, 0.5, 0.9])))
        both = figures.loss_curve(
            training_log(positive_similarity=[0.1, 0.5, 0.9], negative_similarity=[0.1, 0.1, 0.2])
        )
        assert decode(both).shape == one.shape
        assert has_colour(both, LIGHT.muted)

    def test_a_value_taken_now_and_then_is_joined_across_the_epochs_between(self):
        gaps = figures.loss_curve(training_log(knn_accuracy=[0.1, None, 0.9]))
        assert (decode(gaps) != decode(figures.loss_curve(training_log(knn_accuracy=[0.1, None, None])))).any()
        straight = figures.loss_curve(training_log(knn_accuracy=[0.1, 0.5, 0.9]))
        assert decode(gaps).shape == decode(straight).shape

    def test_says_at_which_epoch_the_loss_was_not_finite(self):
        diverged = figures.loss_curve(training_log(loss=[3, 2, np.inf]))
        finite = figures.loss_curve(training_log(loss=[3, 2, 2]))
        # The dashed line and its words are drawn in ink that nothing else reaches to the top with.
        assert (decode(diverged)[:40] < 60).all(axis=2).sum() > (decode(finite)[:40] < 60).all(axis=2).sum()

    def test_any_text_may_be_a_title(self):
        decode(figures.loss_curve(training_log(), title="$\\bad{$"))

    def test_one_epoch_is_visible(self):
        assert has_colour(figures.loss_curve({"epoch": [1], "loss": [2.0]}), LIGHT.accent)


class TestConfusionMatrix:
    @pytest.mark.parametrize("classes", [2, 10, 40, 100])
    def test_decodes_for_any_number_of_classes(self, classes):
        counts = np.random.default_rng(0).integers(0, 30, (classes, classes))
        pixels = decode(figures.confusion_matrix(counts, [f"class {i}" for i in range(classes)]))
        assert 400 < pixels.shape[0] < 2600
        assert 400 < pixels.shape[1] < 2600

    def test_colours_a_row_by_its_share_and_not_its_count(self):
        # A rare class that is always right is as dark as a frequent one.
        png = figures.confusion_matrix([[1, 0], [0, 900]], ["rare", "frequent"])
        accent = np.array([int(LIGHT.accent[i : i + 2], 16) for i in (1, 3, 5)])
        close = np.abs(decode(png).astype(int) - accent).max(axis=2) <= 4
        left, right = np.array_split(np.flatnonzero(close.any(axis=0)), 2)
        assert close[:, left].sum() > 5000
        assert close[:, right].sum() > 5000

    def test_a_class_without_images_does_not_divide_by_zero(self):
        with np.errstate(all="raise"):
            decode(figures.confusion_matrix([[0, 0], [1, 2]], ["none", "some"]))

    def test_any_text_may_be_a_class_name(self):
        decode(figures.confusion_matrix(np.eye(len(HOSTILE), dtype=int), HOSTILE, title="$\\bad{$"))


class TestTsnePicture:
    @pytest.mark.parametrize("classes", [1, 2, 12, 100])
    def test_legend_grows_with_the_classes(self, classes):
        rng = np.random.default_rng(0)
        groups = np.arange(200) % classes
        names = [f"class {i}" for i in range(classes)]
        assert decode(figures.tsne_picture(rng.normal(size=(200, 2)), groups, names)).shape[1] < 2400

    def test_leaves_out_rows_without_a_place(self):
        points = np.array([[0.0, 0], [1, 1], [np.nan, np.nan]])
        all_named = figures.tsne_picture(points, np.array([0, 0, 1]), ["a", "b"])
        without = figures.tsne_picture(points[:2], np.array([0, 0]), ["a", "b"])
        assert all_named == without

    def test_any_text_may_be_a_class_name(self):
        n = len(HOSTILE)
        decode(figures.tsne_picture(np.random.default_rng(0).normal(size=(n, 2)), np.arange(n), HOSTILE))

    def test_no_points_and_unlabelled_points_are_no_error(self):
        decode(figures.tsne_picture(np.empty((0, 2)), np.empty(0, int), []))
        decode(figures.tsne_picture(np.zeros((3, 2)), np.full(3, -1), []))


class TestHeatmaps:
    def test_a_square_has_the_colour_of_its_accuracy(self):
        for accuracy in (0.05, 0.5, 0.9):
            square = Square(mean=accuracy, status="done")
            png = figures.heatmaps([grid_panel(square)])
            assert has_colour(png, accuracy_colour(accuracy)[0], tolerance=4)

    def test_all_panels_share_one_scale(self):
        low = Panel("a", "weak", ("0.1",), ("5",), ((Square(mean=0.2, status="done"),),))
        high = Panel("b", "weak", ("0.1",), ("5",), ((Square(mean=0.8, status="done"),),))
        png = figures.heatmaps([low, high])
        assert has_colour(png, accuracy_colour(0.2)[0], 4)
        assert has_colour(png, accuracy_colour(0.8)[0], 4)

    @pytest.mark.parametrize(
        ("square", "text"),
        [
            (Square(mean=0.914, status="done"), ".91"),
            (Square(mean=1.0, status="done"), "1.00"),
            (Square(mean=0.999, status="done"), "1.00"),
            (Square(status="diverged"), "div"),
            (Square(status="collapsed"), "col"),
            (Square(status="failed"), "fail"),
            (Square(), ""),
        ],
    )
    def test_says_what_became_of_a_cell(self, square, text):
        assert square.text == text

    def test_frames_the_chosen_learning_rate(self):
        plain = figures.heatmaps([grid_panel(Square(mean=0.9, status="done"))])
        chosen = figures.heatmaps([grid_panel(Square(mean=0.9, status="done", chosen=True))])
        ink = [(decode(png) < 60).all(axis=2).sum() for png in (plain, chosen)]
        assert ink[1] > ink[0] + 300

    def test_several_seeds_show_their_spread(self):
        assert Square(mean=0.9, sd=0.012, status="done").spread == "±.01"
        assert Square(mean=0.9, status="done").spread == ""

    def test_title_says_how_learning_rates_are_chosen(self):
        assert figures.heatmaps.__kwdefaults__["title"] == (
            "Test accuracy of every cell; learning rates are chosen on validation accuracy"
        )

    def test_panels_may_differ_in_learning_rates(self):
        square = Square(mean=0.5, status="done")
        one = Panel("a", "weak", ("0.1",), ("5",), ((square,),))
        three = Panel("b", "$\\strong{$", ("0.1", "1", "10"), ("5", "all"), ((square, square),) * 3)
        decode(figures.heatmaps([one, three]))


class TestCurves:
    def test_narrow_pictures_are_narrow(self):
        curves = [Curve("moco", (5, 100), (0.5, 0.9), (0.4, 0.8), (0.6, 0.95))]
        ticks = {5.0: "5", 100.0: "100"}
        wide = decode(figures.accuracy_curves(curves, ticks)).shape[1]
        assert decode(figures.accuracy_curves(curves, ticks, width=3.9)).shape[1] < 0.6 * wide

    def test_baselines_are_not_coloured(self):
        nan = (np.nan, np.nan)
        method = Curve("moco", (5, 100), (0.5, 0.9), nan, nan)
        baseline = Curve("frozen", (5, 100), (0.5, 0.9), nan, nan, baseline=True)
        ticks = {5.0: "5", 100.0: "100"}
        assert has_colour(figures.accuracy_curves([method], ticks), "#3f90da")
        assert not has_colour(figures.accuracy_curves([baseline], ticks), "#3f90da")

    def test_names_of_lines_that_end_together_do_not_overlap(self):
        places = spread([0.90, 0.90, 0.905, 0.2], gap=0.05)
        assert min(np.diff(sorted(places))) >= 0.05 - 1e-12
        assert spread([0.1, 0.5, 0.9], gap=0.05) == [0.1, 0.5, 0.9]

    def test_spread_names_stay_about_their_lines(self):
        assert np.mean(spread([0.9, 0.9, 0.9], gap=0.1)) == pytest.approx(0.9)


def test_a_hundred_classes_look_different():
    assert len({(colour, marker.text) for colour, marker in map(series_style, range(100))}) == 100


def test_text_on_every_accuracy_can_be_read():
    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    for accuracy in np.linspace(0, 1, 101):
        pair = sorted(luminance(colour) for colour in accuracy_colour(accuracy))
        # 4.5 is what WCAG 2 asks of text.
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5


def test_shortened_names_keep_both_ends_and_stay_on_one_line():
    assert shorten("abcdefghij", 5) == "ab…ij"
    assert shorten("short") == "short"
    assert "\n" not in shorten("a\nb")


def test_drawing_leaves_no_figure_open_and_repeats_itself():
    draws = itertools.repeat(([[3, 1], [0, 4]], ["a", "b"]), 3)
    assert len({figures.confusion_matrix(*arguments, theme=DARK) for arguments in draws}) == 1
    assert _pylab_helpers.Gcf.get_num_fig_managers() == 0
