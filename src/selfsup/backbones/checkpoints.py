"""Finds a network's tensors in a checkpoint of another tool: below whatever names, and as timm converts them."""

from __future__ import annotations

import contextlib
import inspect
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

#: Of two copies of a network, what is published is the teacher or the average of an EMA, but the queries' encoder.
_BETTER, _WORSE = re.compile(r"ema\b|ema_|teacher"), re.compile(r"encoder_k|momentum|target|_key")


@dataclass(frozen=True)
class FoundTensors:
    """Tensors of a checkpoint by the names that a network has for them, those included that it has not.

    Attributes
    ----------
    tensors : dict of str to Tensor
    place : str
        What stood before every name, such as ``state_dict.backbone.``.
    by_order : bool
        Whether the checkpoint had numbers in the place of names.
    resampled : tuple of str
        Those that timm has made fit the size of the network's views.
    """

    tensors: dict[str, Tensor]
    place: str
    by_order: bool = False
    resampled: tuple[str, ...] = ()

    @property
    def other_patches(self) -> list[str]:
        """Of those that were resampled, the weights of patches: the network of the checkpoint has others."""
        return [name for name in self.resampled if "patch_embed" in name]


def find_tensors(checkpoint: Mapping[Any, Any], network: nn.Module) -> FoundTensors:
    """What of a checkpoint is the network's: of all places and spellings, the one that has most of its tensors.

    Parameters
    ----------
    checkpoint : mapping
        Tensors by name, at any depth of further mappings.
    """
    expected, given = network.state_dict(), flatten(checkpoint)
    place = _place(given, expected)
    named = FoundTensors(_below(given, place), place)
    if _count_fitting(named.tensors, expected) == len(expected):
        return named
    found = [named, *_numbered(given, expected)]
    stored = {tensor.shape for tensor in given.values()}
    for above, tensors in ((place, named.tensors), ("", dict(checkpoint))):
        for converted in _converted(tensors, network):
            resampled = tuple(
                name
                for name, tensor in converted.items()
                if tensor.shape not in stored
                and (name in named.tensors or "patch_embed" in name)
                and named.tensors.get(name, tensor).dim() == tensor.dim()  # old files have patches as rows
            )
            found.append(FoundTensors(converted, above, resampled=resampled))
    return max(found, key=lambda one: _count_fitting(one.tensors, expected))


def flatten(checkpoint: Mapping[Any, Any], above: str = "") -> dict[str, Tensor]:
    """Its tensors, with the names of the mappings that they lie in before their own."""
    tensors: dict[str, Tensor] = {}
    for name, value in checkpoint.items():
        if isinstance(value, Tensor):
            tensors[f"{above}{name}"] = value
        elif isinstance(value, Mapping):
            tensors |= flatten(value, f"{above}{name}.")
    return tensors


def _place(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """What stands before the network's names in the largest part of a checkpoint."""
    counts = Counter(
        name[:start]
        for name in given
        for start in [0, *(dot.end() for dot in re.finditer(r"\.", name))]
        if name[start:] in expected
    )

    def rank(place: str) -> tuple[int, int]:
        return counts[place], bool(_BETTER.search(place)) - bool(_WORSE.search(place))

    return max(counts, key=rank, default="")


def _below(given: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
    return {name.removeprefix(place): tensor for name, tensor in given.items() if name.startswith(place)}


def _numbered(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Iterator[FoundTensors]:
    """The network as an ``nn.Sequential`` of its parts, as lightly stores it, if it can be nothing else.

    Its numbers are those of parts with and without tensors. So part after part has to have the names and shapes
    of the network's own.
    """
    parts = _parts(expected)
    for place in dict.fromkeys(match[1] for name in given if (match := re.match(r"(.*?\.|)\d+\.", name))):
        numbered = _parts(_below(given, place))
        if not all(number.isdigit() for number in numbered) or len(numbered) != len(parts):
            continue
        pairs = list(zip(parts.items(), sorted(numbered.items(), key=lambda part: int(part[0])), strict=True))
        if all(_shapes(own) == _shapes(other) for (_, own), (_, other) in pairs):
            tensors = {f"{name}.{key}": t for (name, _), (_, part) in pairs for key, t in part.items()}
            yield FoundTensors(tensors, place, by_order=True)


def _parts(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Tensors by the first part of their names, then by the rest."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        first, _, rest = name.partition(".")
        parts.setdefault(first, {})[rest] = tensor
    return parts


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Of what is learned or estimated; a count of batches is not always stored."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}


def _converted(tensors: dict[str, Any], network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """As timm itself would load them: position embeddings resampled, other tools' names turned into its own."""
    from timm.models import model_entrypoint

    architecture = (getattr(network, "pretrained_cfg", None) or {}).get("architecture")
    if not architecture:
        return
    family = sys.modules[model_entrypoint(architecture).__module__]
    for name in ("checkpoint_filter_fn", "_filter_fn", "_filter_torchvision_pretrained"):
        convert = getattr(family, name, None)
        if convert is None:
            continue
        arguments = [dict(tensors), network][: len(inspect.signature(convert).parameters)]
        converted: Mapping[str, Any] = {}
        with contextlib.suppress(Exception):  # it is made for files of its own family, and may fail anyhow of others
            converted = convert(*arguments)
        yield {name: tensor for name, tensor in converted.items() if isinstance(tensor, Tensor)}


def _count_fitting(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> int:
    return sum(k in expected and t.shape == expected[k].shape for k, t in tensors.items())


def describe(checkpoint: Mapping[Any, Any]) -> str:
    """What a checkpoint holds, for a refusal: how many tensors, below what, and the first of them."""
    given = flatten(checkpoint)
    shown = [f"'{name}' ({' x '.join(map(str, tensor.shape)) or 'a number'})" for name, tensor in given.items()]
    return f"{len(given)} tensor{'s' * (len(given) > 1)}, as {', '.join(shown[:3])}"
