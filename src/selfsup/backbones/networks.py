"""Networks by name: any timm model as a backbone, with a stem for small images."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import nn

from selfsup.backbones.backbone import Backbone
from selfsup.backbones.tiny_convolution import quicken_tiny_convolutions
from selfsup.backbones.weights import pretrained_file, require_model
from selfsup.errors import UserError


class Normalisation(NamedTuple):
    """Mean and standard deviation of each channel of images in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def build_backbone(
    name: str,
    *,
    image_size: int | None = None,
    stem: str = "standard",
    in_channels: int = 3,
    normalisation: Normalisation | None = None,
) -> Backbone:
    """An untrained backbone, initialised from torch's global random state.

    Parameters
    ----------
    name : str
        Any timm model name.
    image_size : int, optional
        Side of the views in pixels; transformers lay out their patches for it, and most take others too. By default
        the side that the network was published for.
    stem : {"standard", "small"}
        "small" replaces a ResNet's 7x7 stride-2 convolution and pooling by a 3x3 convolution,
        for small images (Chen et al. 2020, appendix B.9).
    in_channels : int
        Channels of an image, at least 1.
    normalisation : Normalisation, optional
        Of the channels of the images. By default as published; for other than three channels, the mean of that.

    Raises
    ------
    UserError
        If timm has no such model, it cannot be built for this image size, or the stem does not fit it.
    """
    side = image_size or published_side(name)
    return _wrap(_create(name, side, in_channels), name, side, stem, in_channels, normalisation)


def published_backbone(
    name: str,
    *,
    image_size: int | None = None,
    stem: str = "standard",
    in_channels: int = 3,
    normalisation: Normalisation | None = None,
) -> Backbone:
    """A backbone with the weights that timm publishes for it, adapted to other channels as timm does.

    Parameters are those of :func:`build_backbone`.

    Raises
    ------
    UserError
        If there are none, or they are not on this machine and cannot be downloaded.
    """
    side = image_size or published_side(name)
    network = _create(name, side, in_channels, pretrained_file(name))
    return _wrap(network, name, side, stem, in_channels, normalisation)


def published_side(name: str) -> int:
    """Side in pixels of the images that a network of timm was published for.

    Raises
    ------
    UserError
        If timm has no such model.
    """
    import timm

    require_model(name)
    published = timm.get_pretrained_cfg(name)
    return 224 if published is None else int(published.input_size[-1])


def has_own_size(name: str) -> bool:
    """Whether timm says that a network is laid out for one size of images; some take others, and their weights too."""
    import timm

    published = timm.get_pretrained_cfg(name)
    return published is not None and published.fixed_input_size


def list_backbones(pattern: str = "*") -> list[str]:
    """Names of the timm models that match a shell pattern."""
    import timm

    return timm.list_models(pattern)


def _create(name: str, image_size: int, in_channels: int, weights: Path | None = None) -> nn.Module:
    require_model(name)
    try:
        return _create_with_options(name, image_size, in_channels, weights)
    except (AssertionError, RuntimeError, ValueError) as error:  # the second: published weights are of another size
        raise _unfit_size(name, image_size, error) from None


def _create_with_options(name: str, image_size: int, in_channels: int, weights: Path | None) -> nn.Module:
    """Try the options that only some families take: each refuses those that it does not know.

    ``img_size``: transformers lay out their patches by it; with ``dynamic_img_size`` they take other sizes
    too, as small crops beside large ones need. ``zero_init_last=False``: timm starts
    each residual branch of a ResNet at zero, so that untrained it is hardly more than subsampling;
    torchvision, and with it the published SSL code, does not. On the digits, a probe on random
    features reaches 0.19 with it and 0.96 without.
    """
    import timm

    shared: dict[str, Any] = {"num_classes": 0, "in_chans": in_channels}
    if weights is not None:
        shared |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(weights)}}
    sized = {"img_size": image_size}
    specific: tuple[dict[str, Any], ...] = ({**sized, "dynamic_img_size": True}, sized, {"zero_init_last": False}, {})
    for options in specific:
        try:
            return timm.create_model(name, **shared, **options)
        except TypeError as error:
            if not any(option in str(error) for option in options):
                raise
    raise AssertionError("the last try takes no options")


def _wrap(
    network: nn.Module,
    name: str,
    image_size: int,
    stem: str,
    in_channels: int,
    normalisation: Normalisation | None,
) -> Backbone:
    if stem == "small":
        _use_small_stem(network, name)
    quicken_tiny_convolutions(network)
    width = _measure_width(network, name, image_size, in_channels)
    published: dict[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    mean, std = normalisation or (_for_channels(published[key], in_channels) for key in ("mean", "std"))
    return Backbone(network, width, mean, std, image_size=image_size)


def _for_channels(values: Any, in_channels: int) -> tuple[float, ...]:
    """What a network's training data had per channel; of other channels, for each the mean over those."""
    return tuple(values) if len(values) == in_channels else (fmean(values),) * in_channels


def _measure_width(network: nn.Module, name: str, image_size: int, in_channels: int) -> int:
    """Width of an embedding, from embedding one image.

    Some networks pool to more than their `num_features`, and some can be built for a size of
    images that they cannot embed.
    """
    try:
        shape = _embed_one(network, in_channels, image_size)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise _unfit_size(name, image_size, error) from None
    if len(shape) != 2:
        raise UserError(f"'{name}' gives no single embedding for an image (--backbone); choose another network.")
    return int(shape[1])


def takes_side(backbone: Backbone, side: int) -> bool:
    """Whether a backbone embeds images of this side in pixels; those that it was built for, it does."""
    if side == backbone.image_size:
        return True
    try:
        return _embed_one(backbone, backbone.in_channels, side) == (1, backbone.num_features)
    except (AssertionError, RuntimeError, ValueError):
        return False


@torch.no_grad()
def _embed_one(network: nn.Module, in_channels: int, side: int) -> torch.Size:
    """Shape of the embedding of an image, by one thread: on busy cores, two wait for each other for a second."""
    training, threads = network.training, torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        shape: torch.Size = network.eval()(torch.zeros(1, in_channels, side, side)).shape
        return shape
    finally:
        network.train(training)
        torch.set_num_threads(threads)


def _unfit_size(name: str, image_size: int, error: Exception) -> UserError:
    reason = str(error).partition("\n")[0] or type(error).__name__
    return UserError(f"'{name}' cannot be used with --image-size {image_size} ({reason}); choose another size.")


def _use_small_stem(network: nn.Module, name: str) -> None:
    first = getattr(network, "conv1", None)
    if not isinstance(first, nn.Conv2d) or not hasattr(network, "maxpool"):
        raise UserError(f"--stem small is for networks of the ResNet family with one first convolution, not '{name}'.")
    small = nn.Conv2d(first.in_channels, first.out_channels, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(small.weight, mode="fan_out", nonlinearity="relu")
    network.conv1 = small
    network.maxpool = nn.Identity()
