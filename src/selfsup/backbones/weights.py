"""Initial weights: files of other tools, and those that timm publishes."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.backbones.backbone import Backbone
from selfsup.backbones.checkpoints import FoundTensors, describe, find_tensors, flatten
from selfsup.config.network_source import WEIGHT_FILES
from selfsup.data import hub
from selfsup.errors import UserError

#: Heads of classifiers and of self-supervised methods, which a feature extractor does not have.
_HEAD = re.compile(
    r"^(fc|heads?|head_\w+|classifier|last_linear|last_layer|pre_logits|aux\w*|projector|projection\w*|predictor|"
    r"prediction_head|prototypes|queue\w*|decoder\w*|mask_token)\b"
)
#: The end of the names of counts that batch norms keep, which not all files have and nothing depends on.
_COUNT = "num_batches_tracked"


@dataclass(frozen=True)
class WeightReport:
    """How a file's weights fitted a network.

    Attributes
    ----------
    loaded : int
        Number of tensors.
    missing, unexpected, mismatched : tuple of str
        Tensors that the file, or the network, has not, and those of another shape; no heads.
    found : FoundTensors
        Where in the file they were.
    adapted : tuple of str
        Tensors that were made for images of three channels.
    """

    loaded: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    found: FoundTensors
    adapted: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = f" from below '{self.found.place}'" * bool(self.found.place)
        order = ", numbered parts by their order" * self.found.by_order
        changed = {
            "resampled to the views' size": self.found.resampled,
            "adapted to the images' channels": self.adapted,
        }
        parts = [f"{self.loaded} tensors loaded{place}{order}", *_numbers(changed, shown=3), *self.differences(shown=3)]
        parts += ["what is missing or mismatched starts untrained"] * bool(self.missing or self.mismatched)
        return "; ".join(parts)

    def differences(self, shown: int) -> list[str]:
        """How many tensors do not fit, by why, each with the names of so many."""
        lists = {"missing": self.missing, "unexpected": self.unexpected, "mismatched": self.mismatched}
        return _numbers(lists, shown)


def _numbers(lists: Mapping[str, tuple[str, ...]], shown: int) -> list[str]:
    return [
        f"{len(keys)} {name} ({', '.join(keys[:shown])}{', …' * (len(keys) > shown)})"
        for name, keys in lists.items()
        if keys
    ]


def load_weights(backbone: Backbone, path: Path, *, partial: bool = False) -> WeightReport:
    """Load weights from a file into `backbone`; heads in the file are left out.

    Accepts safetensors and torch checkpoints (read with ``weights_only=True``), the network at any depth of
    dictionaries and wrappers (``state_dict``, ``module.``, ``backbone.``, …), with timm's or torchvision's names or
    those that timm converts. As timm does, position embeddings are resampled to the network's size, and a first layer
    for three channels is adapted to other ones: repeated, and divided by how often. Patches of another side are
    of another network; they are resampled only where `partial` allows for it.

    Parameters
    ----------
    backbone : Backbone
    path : Path
    partial : bool
        Whether the network may keep some tensors as they are, and the file have some that it has not.

    Raises
    ------
    UserError
        If the file is missing, is not such a file, holds values that are not finite, or does not fit.
    """
    checkpoint = _read_checkpoint(path)
    expected = backbone.network.state_dict()
    found = find_tensors(checkpoint, backbone.network)
    adapted = _adapted_layers(found.tensors, backbone)
    state = {**found.tensors, **adapted}
    fitting = {k: v for k, v in state.items() if k in expected and v.shape == expected[k].shape}
    fitting = {k: v for k, v in fitting.items() if partial or k not in found.other_patches}
    report = WeightReport(
        loaded=len(fitting),
        missing=tuple(k for k in expected if k not in state and not k.endswith(_COUNT)),
        unexpected=tuple(k for k in state if k not in expected and not k.endswith(_COUNT) and not _HEAD.match(k)),
        mismatched=tuple(k for k in state if k in expected and k not in fitting),
        found=found,
        adapted=tuple(adapted),
    )
    _require_fit(report, backbone, checkpoint, path, partial)
    floating = {name: tensor for name, tensor in fitting.items() if expected[name].is_floating_point()}
    _require_numbers({k: v for k, v in floating.items() if not v.is_floating_point() or v.element_size() < 2}, path)
    broken = [k for k, v in fitting.items() if v.is_floating_point() and not bool(v.isfinite().all())]
    if broken:
        raise UserError(
            f"{len(broken)} of the tensors in '{path}' hold values that are not finite (NaN), as '{broken[0]}': that "
            f"training had diverged; take weights from before it did."
        )
    backbone.network.load_state_dict(fitting, strict=False)
    return report


def takes_weights_of(backbone: Backbone, other: Backbone) -> bool:
    """Whether weights fit that the same network has for images of another size, resampled where timm does."""
    expected = backbone.network.state_dict()
    found = find_tensors(other.network.state_dict(), backbone.network).tensors
    return all(name in found and found[name].shape == tensor.shape for name, tensor in expected.items())


def describe_normalisation(name: str) -> str:
    """How images are normalised for a network of timm: as its published weights want it; and which of them do not."""
    import timm

    def way(published: Any) -> tuple[str, ...]:
        return tuple("/".join(f"{x:.3g}" for x in dict.fromkeys(each)) for each in (published.mean, published.std))

    if (used := timm.get_pretrained_cfg(name)) is None:
        return ""
    tags = timm.list_models(f"{name}.*", pretrained=True)  # none, where the name has a tag
    ways = {way(timm.get_pretrained_cfg(tag)): f"{tag}@FILE" for tag in reversed(tags)}
    mean, std = way(used)
    others = [tag for values, tag in ways.items() if values != (mean, std)]
    remedy = f"; weights that want it otherwise are named as {' or '.join(others)}" * bool(others)
    return f" Images are normalised as for {used.architecture}.{used.tag} (mean {mean}, std {std}){remedy}."


def _adapted_layers(tensors: Mapping[str, Tensor], backbone: Backbone) -> dict[str, Tensor]:
    """Weights of first layers for three channels, adapted to those of the backbone's images."""
    from timm.models import adapt_input_conv

    first = (getattr(backbone.network, "pretrained_cfg", None) or {}).get("first_conv") or ()
    names = [f"{name}.weight" for name in ((first,) if isinstance(first, str) else first)]
    return {
        name: adapt_input_conv(backbone.in_channels, tensors[name])
        for name in names
        if backbone.in_channels != 3 and name in tensors and tensors[name].shape[1:2] == (3,)
    }


def _require_fit(
    report: WeightReport, backbone: Backbone, checkpoint: Mapping[Any, Any], path: Path, partial: bool
) -> None:
    """Refuse a file of another network, which would leave this one partly untrained without anybody's noticing."""
    # A small stem has a first convolution of its own, which no file has.
    own = {"conv1.weight"} if isinstance(getattr(backbone.network, "maxpool", None), nn.Identity) else set()
    unfit = {*report.missing, *report.unexpected, *report.mismatched} - own
    if report.loaded and (partial or not unfit):
        return
    tensors = len(backbone.network.state_dict())
    network = (getattr(backbone.network, "pretrained_cfg", None) or {}).get("architecture", "this backbone")
    mostly = report.loaded >= tensors / 2
    remedy = ", or add --allow-partial-weights, which takes what fits or can be resampled" * mostly
    why = ", ".join(report.differences(shown=1)) if mostly else f"the file holds {describe(checkpoint)}"
    raise UserError(
        f"The weights in '{path}' do not fit {network}: {report.loaded} of its {tensors} tensors do; {why}; name the "
        f"network that they are of{remedy}."
    )


def weights_file(backbone: Backbone) -> bytes:
    """A backbone's weights in the safetensors format, as :func:`load_weights` reads them."""
    from safetensors.torch import save

    return save({name: tensor.detach().cpu().contiguous() for name, tensor in backbone.network.state_dict().items()})


def require_weights_file(path: Path) -> None:
    """Refuse a path to weights at which there is no file.

    Raises
    ------
    UserError
        If there is none.
    """
    if not path.is_file():
        raise UserError(f"There is no weights file '{path}'; name a file that is there, or none, auto or imagenet.")


def require_model(name: str, option: str = "--backbone") -> None:
    """Refuse a name that timm has not, given to this option.

    Raises
    ------
    UserError
        Names those that are near.
    """
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name.split(".")[0], timm.list_models(), n=5)
        hint = f" Near: {', '.join(near)}." if near else ""
        raise UserError(f"timm has no model '{name}' ({option}).{hint} `selfsup list backbones` shows all names.")
    architecture, _, weights = name.partition(".")
    if weights and name not in (tags := timm.list_models(f"{architecture}.*", pretrained=True)):
        raise UserError(
            f"timm has no weights '{weights}' for '{architecture}' ({option} {name}); known: "
            f"{', '.join(tags) or 'none'}."
        )


def pretrained_file(name: str) -> Path:
    """The file of timm's published weights: from the hub's cache, else downloaded into it.

    Raises
    ------
    UserError
        As :func:`require_published`, or if the download breaks off.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    require_model(name)
    require_published([name])  # within seconds, where the hub's own retries take most of a minute
    repository = repository_of(name)
    for file in WEIGHT_FILES:
        cached = try_to_load_from_cache(repository, file)
        if isinstance(cached, str):
            return Path(cached)
    try:
        return Path(hf_hub_download(repository, WEIGHT_FILES[0]))
    except Exception as error:
        raise _not_to_be_had(name, f"cannot be downloaded ({type(error).__name__})") from error


def require_published(names: Iterable[str]) -> None:
    """Refuse networks whose published weights cannot be had.

    Raises
    ------
    UserError
        If timm publishes none, or they are neither on this machine nor to be downloaded.
    """
    for name, reason in unobtainable(names).items():
        raise _not_to_be_had(name, reason)


def _not_to_be_had(name: str, reason: str) -> UserError:
    repository = repository_of(name)
    known = f", such as model.safetensors of {repository} or torchvision's {name.partition('.')[0]}-*.pth"
    return UserError(
        f"The published weights of '{name}' are not on this machine, and {reason}; {name}@FILE takes them from a file"
        f"{known * bool(repository)}, and {name}@none starts from nothing."
    )


def unobtainable(names: Iterable[str]) -> dict[str, str]:
    """Those of timm's networks whose published weights are neither on this machine nor to be downloaded, and why."""
    repositories = {name: repository_of(name) for name in dict.fromkeys(names)}
    reasons = hub.unobtainable(filter(None, repositories.values()), WEIGHT_FILES) | {"": "timm publishes none"}
    return {name: reasons[repository] for name, repository in repositories.items() if repository in reasons}


def repository_of(name: str) -> str:
    """The repository of the hub that holds what timm publishes for a network; empty if it publishes none."""
    import timm

    published = timm.get_pretrained_cfg(name)
    return (published.hf_hub_id if published else None) or ""


def weights_at(path: Path, name: str) -> Path:
    """The file of a network's weights: `path`, or if that is a folder, the one in it that has the network's name.

    Raises
    ------
    UserError
        If there is none.
    """
    if not path.is_dir():
        require_weights_file(path)
        return path
    names = dict.fromkeys((name, name.partition(".")[0], "model", "pytorch_model"))
    for file in (path / f"{name}{suffix}" for name in names for suffix in (".safetensors", ".bin", ".pth", ".pt")):
        if file.is_file():
            return file
    raise UserError(
        f"The folder '{path}' has no weights of '{name}' (such as {name}.safetensors or model.safetensors); "
        f"name the file itself."
    )


def _read_checkpoint(path: Path) -> Mapping[Any, Any]:
    require_weights_file(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):  # the options of a training, which are no code
            content = torch.load(path, map_location="cpu", weights_only=True)
        tensors = flatten(content) if isinstance(content, Mapping) else {}
    except Exception as error:
        raise UserError(
            f"'{path}' is not a safetensors file or a torch state dict that loads without running code "
            f"({type(error).__name__}); save the model's state_dict() and pass that file to --weights."
        ) from None
    if not tensors:
        raise UserError(f"'{path}' holds no state dict; save the model's state_dict() and pass that file to --weights.")
    _require_numbers({name: tensor for name, tensor in tensors.items() if not _is_array(tensor)}, path)
    return content


def _is_array(tensor: Tensor) -> bool:
    """Whether a tensor holds a number at each of its places."""
    return tensor.layout == torch.strided and not (tensor.is_meta or tensor.is_nested)


def _require_numbers(unusable: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that are no weights as they are: of a quantised network, for example, without their scale."""
    for name, tensor in unusable.items():
        raise UserError(
            f"{len(unusable)} of the tensors in '{path}' are no weights that can be loaded as they are, as '{name}' "
            f"({tensor.dtype}, {tensor.layout}); save them dense, in float32, float16 or bfloat16."
        )
