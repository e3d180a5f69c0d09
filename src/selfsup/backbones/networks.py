"""Backbones: any timm network as a feature extractor, and where its first weights come from."""

from __future__ import annotations

import contextlib
import difflib
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.backbones.tiny_convolution import quicken_tiny_convolutions
from selfsup.errors import UserError

#: Prefixes under which other tools store a backbone inside a whole model.
_WRAPPERS = re.compile(
    r"^(module|model|backbone|encoder|encoder_q|network|base_encoder|momentum_encoder|student|online_network)\."
)
#: Heads of classifiers and of self-supervised methods, which a feature extractor does not have.
_HEAD = re.compile(r"^(fc|head|classifier|projector|projection_head|predictor|prediction_head)\b")


class Backbone(nn.Module):
    """A network from images to embeddings.

    Parameters
    ----------
    network : nn.Module
        From (n, 3, side, side), normalised, to (n, num_features).
    num_features : int
        Width of an embedding.
    mean, std : sequence of float
        Of the three channels, for images in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, num_features: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.num_features = num_features
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings, shape (n, num_features), of images in [0, 1], shape (n, 3, side, side)."""
        return self.network((images - self.mean) / self.std)


@dataclass(frozen=True)
class WeightReport:
    """How a file's weights fitted a network."""

    loaded: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{self.loaded} tensors loaded"]
        for name in ("missing", "unexpected", "mismatched"):
            keys = getattr(self, name)
            if keys:
                shown = ", ".join(keys[:3]) + (", …" if len(keys) > 3 else "")
                parts.append(f"{len(keys)} {name} ({shown})")
        return "; ".join(parts)


def build_backbone(name: str, *, image_size: int, stem: str = "standard") -> Backbone:
    """An untrained backbone, initialised from torch's global random state.

    Parameters
    ----------
    name : str
        Any timm model name.
    image_size : int
        Side of the views in pixels; transformers need it to lay out their patches.
    stem : {"standard", "small"}
        "small" replaces a ResNet's 7x7 stride-2 convolution and pooling by a 3x3 convolution,
        for small images (Chen et al. 2020, appendix B.9).

    Raises
    ------
    UserError
        If timm has no such model, it cannot be built for this image size, or the stem does not fit it.
    """
    return _wrap(_create(name, image_size), name, image_size, stem)


def imagenet_backbone(name: str, *, image_size: int, stem: str = "standard") -> Backbone:
    """A backbone with the ImageNet weights that timm publishes for it.

    Raises
    ------
    UserError
        If there are none, or they are not on this machine and cannot be downloaded.
    """
    return _wrap(_create(name, image_size, weights=pretrained_file(name)), name, image_size, stem)


def pretrained_file(name: str) -> Path:
    """The file of timm's published weights: from the hub's cache, else downloaded into it.

    Raises
    ------
    UserError
        If timm publishes none, or the file is not here and cannot be downloaded. Without a network
        this takes seconds, where the hub's own retries take most of a minute.
    """
    import timm
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    _require_model(name)
    published = timm.get_pretrained_cfg(name)
    if published is None or not published.hf_hub_id:
        raise UserError(f"timm publishes no weights for '{name}'; use --weights none, or pass a file to --weights.")
    for file in ("model.safetensors", "pytorch_model.bin"):
        cached = try_to_load_from_cache(published.hf_hub_id, file)
        if isinstance(cached, str):
            return Path(cached)
    remedy = (
        f"with the file 'model.safetensors' of {published.hf_hub_id} or torchvision's {name.split('.')[0]}-*.pth at "
        f"hand, pass --weights FILE; or use --weights none"
    )
    try:
        _require_reachable()
        return Path(hf_hub_download(published.hf_hub_id, "model.safetensors"))
    except Exception as error:
        raise UserError(
            f"The ImageNet weights of '{name}' are not on this machine and cannot be downloaded "
            f"({type(error).__name__}): {remedy}."
        ) from error


def _require_reachable() -> None:
    """Ask the hub for anything, once, for at most five seconds."""
    from huggingface_hub.constants import ENDPOINT

    with contextlib.suppress(urllib.error.HTTPError):  # an error code is an answer too
        urllib.request.urlopen(urllib.request.Request(ENDPOINT, method="HEAD"), timeout=5).close()


def load_weights(backbone: Backbone, path: Path) -> WeightReport:
    """Load weights from a file into `backbone`; heads in the file are left out.

    Accepts safetensors and torch state dicts (read with ``weights_only=True``), bare or under the
    usual wrappers (``state_dict``, ``module.``, ``backbone.``, …), with timm's or torchvision's names.

    Raises
    ------
    UserError
        If the file is missing, is not such a file, or fits the network in less than half.
    """
    given = _read_state_dict(path)
    expected = backbone.network.state_dict()
    state = _unwrap(given, expected)
    fitting = {k: v for k, v in state.items() if k in expected and v.shape == expected[k].shape}
    report = WeightReport(
        loaded=len(fitting),
        missing=tuple(k for k in expected if k not in state and not k.endswith("num_batches_tracked")),
        unexpected=tuple(k for k in state if k not in expected and not _HEAD.match(k)),
        mismatched=tuple(k for k in state if k in expected and state[k].shape != expected[k].shape),
    )
    if len(fitting) < len(expected) / 2:
        raise UserError(f"The weights in '{path}' do not fit this backbone: {report}; check --weights and --backbone.")
    backbone.network.load_state_dict(fitting, strict=False)
    return report


def require_weights_file(path: Path) -> None:
    """Refuse a path to weights at which there is no file.

    Raises
    ------
    UserError
        If there is none.
    """
    if not path.is_file():
        raise UserError(f"There is no weights file '{path}'; --weights takes none, imagenet, or a file.")


def list_backbones(pattern: str = "*") -> list[str]:
    """Names of the timm models that match a shell pattern."""
    import timm

    return timm.list_models(pattern)


def _require_model(name: str) -> None:
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name.split(".")[0], timm.list_models(), n=5)
        hint = f" Near: {', '.join(near)}." if near else ""
        raise UserError(f"timm has no model '{name}' (--backbone).{hint} `selfsup list backbones` shows all names.")
    tags = timm.list_models(f"{name.split('.')[0]}.*", pretrained=True)
    if "." in name and name not in tags:
        raise UserError(
            f"timm has no weights '{name.split('.', 1)[1]}' for '{name.split('.')[0]}' (--backbone {name}); known: "
            f"{', '.join(tags) or 'none'}."
        )


def _create(name: str, image_size: int, weights: Path | None = None) -> nn.Module:
    _require_model(name)
    try:
        return _create_with_options(name, image_size, weights)
    except (AssertionError, ValueError) as error:
        raise _unfit_size(name, image_size, error) from None


def _create_with_options(name: str, image_size: int, weights: Path | None) -> nn.Module:
    """Try the options that only some families take: each refuses those that it does not know.

    ``img_size``: transformers lay out their patches by it. ``zero_init_last=False``: timm starts
    each residual branch of a ResNet at zero, so that untrained it is hardly more than subsampling;
    torchvision, and with it the published SSL code, does not. On the digits, a probe on random
    features reaches 0.19 with it and 0.96 without.
    """
    import timm

    shared: dict[str, Any] = {"num_classes": 0}
    if weights is not None:
        shared |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(weights)}}
    specific: tuple[dict[str, Any], ...] = ({"img_size": image_size}, {"zero_init_last": False}, {})
    for options in specific:
        try:
            return timm.create_model(name, **shared, **options)
        except TypeError as error:
            if not options or next(iter(options)) not in str(error):
                raise
    raise AssertionError("the last try takes no options")


def _wrap(network: nn.Module, name: str, image_size: int, stem: str) -> Backbone:
    if stem == "small":
        _use_small_stem(network, name)
    quicken_tiny_convolutions(network)
    config = network.pretrained_cfg
    width = _measure_width(network, name, image_size)
    return Backbone(network, width, tuple(config["mean"]), tuple(config["std"]))  # type: ignore[index]


def _measure_width(network: nn.Module, name: str, image_size: int) -> int:
    """Width of an embedding, from embedding one image.

    Some networks pool to more than their `num_features`, and some can be built for a size of
    images that they cannot embed.
    """
    try:
        with torch.no_grad():
            shape = network.eval()(torch.zeros(1, 3, image_size, image_size)).shape
    except (AssertionError, RuntimeError, ValueError) as error:
        raise _unfit_size(name, image_size, error) from None
    network.train()
    if len(shape) != 2:
        raise UserError(f"'{name}' gives no single embedding for an image (--backbone); choose another network.")
    return int(shape[1])


def takes_side(backbone: Backbone, side: int) -> bool:
    """Whether a backbone embeds images of this side in pixels."""
    training = backbone.training
    try:
        with torch.no_grad():
            return backbone.eval()(torch.zeros(1, 3, side, side)).shape == (1, backbone.num_features)
    except (AssertionError, RuntimeError, ValueError):
        return False
    finally:
        backbone.train(training)


def _unfit_size(name: str, image_size: int, error: Exception) -> UserError:
    reason = str(error).partition("\n")[0] or type(error).__name__
    return UserError(f"'{name}' cannot be used with --image-size {image_size} ({reason}); choose another size.")


def _use_small_stem(network: nn.Module, name: str) -> None:
    first = getattr(network, "conv1", None)
    if not isinstance(first, nn.Conv2d) or not hasattr(network, "maxpool"):
        raise UserError(f"--stem small is for networks of the ResNet family with one first convolution, not '{name}'.")
    small = nn.Conv2d(3, first.out_channels, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(small.weight, mode="fan_out", nonlinearity="relu")
    network.conv1 = small
    network.maxpool = nn.Identity()


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    require_weights_file(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"'{path}' is not a safetensors file or a torch state dict that loads without running code "
            f"({type(error).__name__}); save the model's state_dict() and pass that file to --weights."
        ) from None
    for key in ("state_dict", "model", "teacher", "student"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise UserError(f"'{path}' holds no state dict; save the model's state_dict() and pass that file to --weights.")
    return {k: v for k, v in content.items() if isinstance(v, Tensor)}


def _unwrap(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Strip wrappers such as ``module.backbone.``: as many as make the most names fit."""
    best = state = dict(given)
    while any(_WRAPPERS.match(key) for key in state):
        stripped: dict[str, Tensor] = {}
        for key, value in state.items():
            stripped.setdefault(_WRAPPERS.sub("", key), value)
        state = stripped
        if sum(k in expected for k in state) > sum(k in expected for k in best):
            best = state
    return best
