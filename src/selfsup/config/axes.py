"""The axes of a grid, each declared once: ids, grouping, choice and tables derive from here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

#: What an axis is for: its values are compared with each other; chosen among on validation; number the training
#: images or labels; or repeat what is otherwise the same.
Purpose = Literal["compared", "chosen", "size", "repeated"]


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes
    ----------
    name : str
        Attribute of a cell, and column of the results.
    purpose : Purpose
    about : str
        What its values are.
    type : type
        Of its values in the results.
    heading : str
        In tables.
    form : str
        Format of its values in tables.
    written : callable
        Its value as a part of a cell's id.
    """

    name: str
    purpose: Purpose
    about: str
    type: type[str | int | float]
    heading: str
    form: str
    written: Callable[[Any], str] = str


def format_lr(lr: float) -> str:
    """Shortest text that reads back as the same float: 0.06, 0.0003, 1, 10."""
    text = repr(float(lr))
    text = re.sub(r"\.0$", "", text)
    return text.replace("e-0", "e-")


#: In the order of ids and tables. A value may be None where an axis does not apply.
AXES = (
    Axis("method", "compared", "its method", str, "method", ""),
    Axis("backbone", "compared", "its network, and after @ where its weights come from", str, "backbone", ""),
    Axis("augmentation", "chosen", "policy of its views; empty where nothing is trained", str, "augmentation", ""),
    Axis("lr", "chosen", "learning rate", float, "lr", ".4g", lambda lr: f"lr{format_lr(lr)}"),
    Axis("per_class", "size", "training images (or labels) per class: a number, a share of each class, or `all`", str,
         "per class", "d", lambda size: f"n{size}".replace("%", "pct")),
    Axis("seed", "repeated", "seed", int, "seed", ".4g", lambda seed: f"s{seed}"),
)  # fmt: skip


def names_for(purpose: Purpose) -> list[str]:
    """Names of the axes with this purpose."""
    return [axis.name for axis in AXES if axis.purpose == purpose]


#: The method of the networks that ``--references`` names.
REFERENCE = "reference"
#: What identifies a candidate, and what is chosen for it.
COMPARED, CHOSEN = names_for("compared"), names_for("chosen")
