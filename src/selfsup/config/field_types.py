"""Types of the configuration's fields that may be written as text with commas between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from selfsup.config.network_source import AUTO, PUBLISHED, NetworkSource

#: More would be a slip of the hand: what is planned for each epoch would fill the memory.
MOST_EPOCHS = 1_000_000


def _split_commas(value: Any) -> Any:
    """Let ``"a,b"`` and a single number stand for a list, as on the command line."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, int | float):
        return [value]
    return value


def _one_or_several(value: Any) -> Any:
    """Let a single path stand for a list; it may hold commas."""
    return [value] if isinstance(value, str) else value


def _channel_numbers(value: Any) -> Any:
    """Numbers from 1, which may come twice."""
    parts = _split_commas(value)
    if parts is None or (parts and all(str(part).isdecimal() and int(part) for part in parts)):
        return parts
    raise ValueError("must be numbers of channels, from 1, with commas between, such as 4,3,2")


def no_repeats(value: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values, each once, in its first place."""
    return tuple(dict.fromkeys(value))


def _split_rates(value: Any) -> Any:
    """Numbers as numbers and multiples as text: ``0.01,0.03`` or ``0.3x,1x``; not both."""
    parts = _split_commas(value)
    if not isinstance(parts, list | tuple):
        return parts
    texts = [str(part).strip().lower() for part in parts]
    multiples = [text.endswith("x") for text in texts]
    try:
        numbers = [float(text.removesuffix("x")) for text in texts]
    except ValueError:
        numbers = [math.nan]
    if any(multiples) != all(multiples) or not all(0 < number < math.inf for number in numbers):
        raise ValueError("must be numbers above 0, or multiples of each method's own rate such as 0.3x,1x,3x; not both")
    return [f"{number:g}x" for number in numbers] if any(multiples) else numbers


def _split_sizes(value: Any) -> Any:
    """Whole numbers, or shares such as ``1%,10%``; ``all`` with either, in any case of its letters."""
    parts = _split_commas(value)
    if not isinstance(parts, list | tuple):
        return parts
    texts = [str(part).strip().lower() for part in parts]
    shares = [text.removesuffix("%") for text in texts if text.endswith("%")]
    numbers = [text for text in texts if not text.endswith("%") and text != "all"]
    try:
        fit = all(0 < float(share) < 100 for share in shares) and all(int(number) > 0 for number in numbers)
    except ValueError:
        fit = False
    if not fit or (shares and numbers):
        raise ValueError(
            "must be whole numbers above 0, or shares of each class above 0% and below 100% such as 1%,10%, not both "
            "(which is more would differ by class); or all"
        )
    return [f"{float(t[:-1]):g}%" if t.endswith("%") else t if t == "all" else int(t) for t in texts]


Channels = Annotated[tuple[int, ...] | None, BeforeValidator(_channel_numbers)]
Place = Annotated[str, Field(min_length=1)]
Files = Annotated[tuple[Place, ...], BeforeValidator(_one_or_several), AfterValidator(no_repeats)]
_Lr = Annotated[float, Field(gt=0)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split_commas), AfterValidator(no_repeats)]
Lrs = Annotated[tuple[_Lr, ...], BeforeValidator(_split_commas), AfterValidator(no_repeats)]
Rates = Annotated[tuple[float | str, ...], BeforeValidator(_split_rates), AfterValidator(no_repeats)]
Sizes = Annotated[tuple[int | str, ...], BeforeValidator(_split_sizes), AfterValidator(no_repeats)]


def different_networks(sources: Sequence[NetworkSource]) -> tuple[str, ...]:
    """The networks as text; those of one label must be the same."""
    known: dict[str, NetworkSource] = {}
    for source in sources:
        if (first := known.setdefault(source.label, source)) == source:
            continue
        if source.weights == AUTO:
            raise ValueError(
                f"'{first}' and '{source}' are one network if they start from nothing, as auto may have it; name the "
                f"weights of each, as in {source.name}@{PUBLISHED}"
            )
        raise ValueError(f"must differ in more than a folder: '{first}' and '{source}' look alike")
    return tuple(str(source) for source in known.values())
