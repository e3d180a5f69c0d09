"""What a method needs and costs, in words: for `selfsup list methods` and docs/methods.md."""

from __future__ import annotations

from collections.abc import Iterator

from selfsup.methods import Method
from selfsup.methods.parts.key_queue import KeyQueue
from selfsup.methods.parts.momentum import MomentumEncoder
from selfsup.testing.methods import build


def describe_needs(cls: type[Method]) -> str:
    """What a method asks for beside images, as its tags, and its views and parts on a tiny network, have it."""
    return "; ".join(_needs(cls)) if cls.tags.trains else "no training"


def _needs(cls: type[Method]) -> Iterator[str]:
    tags = cls.tags
    try:
        method = build(cls)
        groups = tuple(method.view_groups())
    except Exception as error:  # one from outside that does not keep the contract is still listed
        yield f"cannot be built on a tiny network ({type(error).__name__})"
        return
    kinds = [f"{g.count}{' small' * (g.side < 1)}{' masked' * (g.mask is not None)}" for g in groups]
    yield f"{' + '.join(kinds)} view{'s' * (sum(group.count for group in groups) > 1)} of an image"
    if tags.augmentation:
        yield f"by '{tags.augmentation}'"
    if tags.uses_labels:
        yield "labels"
    if tags.needs_tokens:
        yield "a vision transformer"
    if tags.needs_teacher:
        yield "a trained network to learn from"
    parts = list(method.modules())
    if any(isinstance(part, MomentumEncoder) for part in parts):
        yield "a second network (momentum encoder)"
    if any(isinstance(part, KeyQueue) for part in parts):
        yield "a queue of earlier images"


def describe_cost(cls: type[Method]) -> str:
    """What a step costs, in steps of SimCLR's."""
    return "not stated" if cls.cost is None else f"{cls.cost:.2g}"
