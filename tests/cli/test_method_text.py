"""What is said of a method is what it asks for."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from selfsup.cli.listing import lines
from selfsup.cli.method_text import describe_cost, describe_needs
from selfsup.methods import Method, Paper, method_class, method_names


@pytest.mark.parametrize(
    ("name", "needs", "cost"),
    [
        ("simclr", "2 views of an image", "1"),
        ("supervised", "1 view of an image; labels", "0.5"),
        ("mae", "1 masked view of an image; by 'crop'; a vision transformer", "0.23"),
        ("dino", "2 + 6 small views of an image; a second network (momentum encoder)", "1.9"),
        ("distill", "1 view of an image; a trained network to learn from", "0.5"),
        ("nnclr", "2 views of an image; a queue of earlier images", "1.1"),
    ],
)
def test_needs_and_cost_of_a_method(name: str, needs: str, cost: str) -> None:
    assert (describe_needs(method_class(name)), describe_cost(method_class(name))) == (needs, cost)


def test_what_does_not_train_needs_nothing() -> None:
    assert describe_needs(method_class("frozen")) == "no training"


class Broken(Method):
    """One from outside that cannot be built."""

    paper = Paper("An Author", 2020, "A Title", "https://example.org/paper")

    def __init__(self, *given: object, **sizes: int) -> None:
        raise LookupError


def test_a_method_that_cannot_be_built_is_still_described() -> None:
    assert describe_needs(Broken) == "cannot be built on a tiny network (LookupError)"
    assert describe_cost(Broken) == "not stated"


def test_a_cost_that_is_not_stated_is_said_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [*lines("methods", "simclr")][-1].endswith("Needs: 2 views of an image; a step costs 1 of SimCLR's.")
    monkeypatch.setattr(method_class("simclr"), "cost", None)
    assert [*lines("methods", "simclr")][-1].endswith("Needs: 2 views of an image; a step's cost is not stated.")
    assert [*lines("methods", "frozen")][-1].endswith("Needs: no training.")


def test_the_docs_have_every_method_as_it_is() -> None:
    docs = Path(__file__).parents[2] / "docs"
    text = (docs / "methods.md").read_text(encoding="utf-8")
    assert text == runpy.run_path(str(docs / "write_tables.py"))["with_tables"](text), "run docs/write_tables.py"
    assert all(f"**`{name}`**" in text for name in method_names() if name != "reference")
