"""What all pictures share: letters of any script, colours that can be told apart, files that repeat themselves."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib import _pylab_helpers, font_manager
from PIL import Image

from selfsup.evaluation.confusions import Confusions
from selfsup.figures import canvas
from selfsup.figures.canvas import DARK, LIGHT, accuracy_colour, to_pdf, to_png
from selfsup.figures.confusion import confusion_matrix


def test_only_installed_fonts_are_asked_for(monkeypatch):
    monkeypatch.setattr(font_manager, "get_font_names", lambda: ["DejaVu Sans", "WenQuanYi Zen Hei", "Comic Sans MS"])
    canvas._families.cache_clear()
    assert canvas._families() == ["WenQuanYi Zen Hei"]
    canvas._families.cache_clear()


def test_every_text_of_a_picture_may_fall_back(monkeypatch):
    monkeypatch.setattr(canvas, "_families", lambda: ["DejaVu Sans Mono"])
    figure = canvas.new_figure(1, 1, canvas.LIGHT)
    axes = figure.subplots()
    canvas.name_ticks(axes, ["日本"], ["日本"])
    title = axes.set_title("種")
    canvas.to_png(figure)
    assert title.get_fontfamily() == axes.get_xticklabels()[0].get_fontfamily() == ["sans-serif", "DejaVu Sans Mono"]


def test_a_hundred_classes_look_different():
    assert len({(colour, marker.text) for colour, marker in map(canvas.series_style, range(100))}) == 100


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
    assert canvas.shorten("abcdefghij", 5) == "ab…ij"
    assert canvas.shorten("short") == "short"
    assert canvas.shorten("a\nb") == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_a_png_has_the_size_of_its_figure_and_the_colours_that_were_drawn(theme):
    figure = canvas.new_figure(2, 1, theme)
    axes, other = figure.subplots(1, 2)
    axes.set_axis_off()
    other.set_axis_off()
    axes.add_patch(canvas.matplotlib.patches.Rectangle((0, 0), 1, 1, color=theme.accent))
    image = Image.open(io.BytesIO(to_png(figure)))
    assert (image.format, image.size) == ("PNG", (320, 160))
    found = ["#{:02x}{:02x}{:02x}".format(*image.convert("RGB").getpixel((x, 80))) for x in (80, 240)]
    assert found == [theme.accent, theme.paper]


def test_drawing_leaves_no_figure_open_and_repeats_itself():
    def draw(save) -> bytes:
        return confusion_matrix(Confusions.of(np.array([0, 1]), np.array([0, 1])), ["a", "b"], theme=DARK, save=save)

    assert draw(to_png) == draw(to_png)
    assert draw(to_pdf) == draw(to_pdf)
    assert _pylab_helpers.Gcf.get_num_fig_managers() == 0
