"""Letters of any script, as far as the machine has fonts for them."""

from __future__ import annotations

from matplotlib import font_manager

from selfsup.figures import canvas


def test_only_installed_fonts_are_asked_for(monkeypatch):
    monkeypatch.setattr(font_manager, "get_font_names", lambda: ["DejaVu Sans", "WenQuanYi Zen Hei", "Comic Sans MS"])
    canvas._families.cache_clear()
    assert canvas._families() == ["WenQuanYi Zen Hei"]
    canvas._families.cache_clear()


def test_every_text_of_a_picture_may_fall_back(monkeypatch):
    monkeypatch.setattr(canvas, "_families", lambda: ["DejaVu Sans Mono"])
    figure = canvas.new_figure(1, 1, canvas.LIGHT)
    axes = figure.subplots()
    canvas.name_ticks(axes, x=["日本"])
    title = axes.set_title("種")
    canvas.to_png(figure)
    assert title.get_fontfamily() == axes.get_xticklabels()[0].get_fontfamily() == ["sans-serif", "DejaVu Sans Mono"]
