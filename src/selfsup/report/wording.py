"""Numbers and settings as the report says them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from selfsup.config.axes import format_lr
from selfsup.evaluation.agreement import Correlation
from selfsup.report.findings import Choice, Comparison
from selfsup.report.statistics import Interval

NOTHING = "–"


def score(value: float | None) -> str:
    """A score with three decimals."""
    return NOTHING if value is None or math.isnan(value) else f"{value:.3f}"


def interval(value: Interval | None) -> str:
    """The ends of an interval, for example ``0.881–0.939``."""
    return NOTHING if value is None else f"{value.low:.3f}–{value.high:.3f}"


def signed(value: float) -> str:
    """A difference of scores with its sign, for example ``+0.021`` or ``−0.004``."""
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def signed_interval(value: Interval | Correlation) -> str:
    """The ends of an interval of what may be negative, for example ``−0.004 to +0.021``."""
    return f"{signed(value.low)} to {signed(value.high)}"


def duration(seconds: float | None) -> str:
    """A time with its two largest units, for example ``3 min 20 s``."""
    if seconds is None or math.isnan(seconds):
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for large, big, small, little in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= large:
            rest = whole % large // small
            return f"{whole // large} {big} {rest} {little}" if rest else f"{whole // large} {big}"
    return f"{whole} s"


def learning_rate(value: float | None) -> str:
    """A learning rate in its shortest form."""
    return NOTHING if value is None or math.isnan(value) else format_lr(value)


def p_value(value: float) -> str:
    """A p-value with its relation, for example ``= 0.03`` or ``< 0.001``."""
    if value < 0.001:
        return "< 0.001"
    return f"= {value:.3f}" if value < 0.01 else f"= {value:.2f}"


def points(margin: float) -> str:
    """A margin in points of 0.01, for example ``1 point`` or ``0.5 points``."""
    return f"{100 * margin:g} point{'' if math.isclose(margin, 0.01) else 's'}"


def capital(text: str) -> str:
    """With a capital at its beginning, unless its first word has capitals of its own, as mAP has."""
    return text[:1].upper() + text[1:] if text.split(" ")[0].islower() else text


def value(content: object, form: str) -> str:
    """A value of the table of cells: texts as they are, numbers in the format `form`."""
    if not isinstance(content, float):
        return str(content)
    return "" if math.isnan(content) else format(content, form)


def size(name: str, unit: str, category: str) -> str:
    """A size in words: ``5 images per class``, ``10% of each class's images``, ``all labels``."""
    if name == "all":
        return f"all {unit}"
    if name.endswith("%"):
        return f"{name} of each {category}'s {unit}"
    return f"{name} {unit if name != '1' else unit.removesuffix('s')} per {category}"


def size_names(sizes: Sequence[str], mean_per_class: Callable[[str], float]) -> dict[str, str]:
    """Headings of the sizes; shares and ``all`` say how many images per class that is on average."""
    return {name: name if name.isdecimal() else f"{name} (≈ {mean_per_class(name):.0f})" for name in sizes}


def axis_in_words(name: str) -> str:
    """An axis that settings are chosen on, as a sentence names it."""
    return {"lr": "learning rate"}.get(name, name)


def shared_seeds(comparison: Comparison) -> str:
    """Over which seeds two methods were compared, where one of them has others too; else empty.

    Begins with a space.
    """
    shared = comparison.test.interval.seeds
    if comparison.one.seeds == comparison.other.seeds == shared:
        return ""
    return f" over the {'seed' if shared == 1 else f'{shared} seeds'} that both have"


def setting(choice: Choice) -> str:
    """A method's settings in words, for example ``weak augmentation, learning rate 0.06``."""
    if choice.lr is None:
        return "no training"
    return f"{choice.augmentation} augmentation, learning rate {format_lr(choice.lr)}"
