"""The critical-difference diagram: methods on a line of average ranks, those not told apart joined."""

from __future__ import annotations

from collections.abc import Sequence

from selfsup.figures.canvas import LIGHT, Save, Theme, label, new_figure, shorten, to_png


def critical_difference(
    methods: Sequence[str],
    average: Sequence[float],
    groups: Sequence[tuple[int, int]],
    difference: float,
    *,
    width: float = 6.4,
    theme: Theme = LIGHT,
    save: Save = to_png,
) -> bytes:
    """Draw the diagram of Demšar (2006, figure 1).

    Parameters
    ----------
    methods : sequence of str
        The best first.
    average : sequence of float
        Average rank of each.
    groups : sequence of (int, int)
        First and last place of methods that are not shown to differ.
    difference : float
        The critical difference, drawn above the line.
    width : float
        Width in inches, 3 or more.
    theme : Theme
        Colours.
    save : callable
        What becomes of the figure: :func:`to_png` or :func:`to_pdf`.

    Returns
    -------
    bytes
        What `save` returns.
    """
    k = len(methods)
    half = (k + 1) // 2
    depth = 0.6 + 0.28 * len(groups) + 0.34 * half
    figure = new_figure(width, 0.9 + depth * 0.75, theme)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set(xlim=(0.2, k + 0.8), ylim=(-depth, 0.9))
    axes.plot([1, k], [0, 0], color=theme.ink, linewidth=1.2)
    for rank in range(1, k + 1):
        axes.plot([rank, rank], [0, 0.12], color=theme.ink, linewidth=1)
        axes.text(rank, 0.2, str(rank), ha="center", va="bottom", **label(theme, 8))
    axes.plot([1, min(k, 1 + difference)], [0.72, 0.72], color=theme.accent, linewidth=2, solid_capstyle="butt")
    axes.text(1, 0.78, f"critical difference {difference:.2f}", va="bottom", **label(theme, 8))
    for line, (first, last) in enumerate(groups):
        y = -0.16 - 0.28 * line
        axes.plot([average[first] - 0.04, average[last] + 0.04], [y, y], color=theme.muted, linewidth=4)
    top = -0.35 - 0.28 * len(groups)
    for place, (method, mean) in enumerate(zip(methods, average, strict=True)):
        left = place < half
        y = top - 0.34 * (place if left else k - 1 - place)
        edge, gap = (0.85, -0.06) if left else (k + 0.15, 0.06)
        axes.plot([mean, mean, edge], [0, y, y], color=theme.line, linewidth=1, zorder=0)
        text = f"{shorten(method, 18)} {mean:.2f}"
        axes.text(edge + gap, y, text, ha="right" if left else "left", va="center", **label(theme, 9))
    return save(figure)
