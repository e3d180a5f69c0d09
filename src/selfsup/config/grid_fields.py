"""What is compared: the axes of the grid and what they mean."""

from __future__ import annotations

from typing import Literal

from pydantic import ValidationInfo, field_validator

from selfsup.config.field_roles import Fields, field
from selfsup.config.field_types import Files, Names, Rates, Sizes, different_networks
from selfsup.config.grid import Protocol
from selfsup.config.network_source import AUTO, NONE, NetworkSource

#: Stands for every method that fits.
ALL = "all"


class GridFields(Fields):
    """Methods, networks, augmentations, learning rates, sizes and seeds."""

    plugin: Files = field(
        (),
        "A Python file that brings a method, augmentation policy, data set, evaluator or executor under its name; "
        "may be given several times.",
        "plugins",
    )
    methods: Names = field(
        (AUTO,),
        "Methods to compare. auto: the well-tried ones for the networks and the number of images, which is said; all: "
        "every one that fits (see `selfsup list methods`).",
        "axis",
    )
    weights: str = field(
        "auto",
        "Initial weights of the networks that --backbones names without @: none, imagenet (those that timm publishes), "
        "auto (those where they can be had, else none), or a file.",
        "runtime",
        min_length=1,
    )
    backbones: Names = field(
        ("resnet18",),
        "Networks to compare: any timm model names, each with @ and its initial weights if need be.",
        "axis",
    )
    references: Names = field(
        ("vit_small_patch16_dinov3.lvd1689m", "resnet50.tv_in1k", "tf_efficientnet_lite0.in1k"),
        "Trained networks to be judged as they are, at their own input size: timm's names, each with @ and a file or "
        "folder of its weights if need be; or none.",
        "axis",
    )
    allow_partial_weights: bool = field(
        False, "Take a file of weights that fits the backbone in part only; the rest stays untrained.", "identity"
    )
    stem: Literal["standard", "small"] = field(
        "standard", "small: 3x3 first convolution, no pooling, for ResNets on small images.", "identity"
    )
    augmentations: Names = field(
        ("auto", "weak"),
        "Augmentation policies (see `selfsup list augmentations`). auto: simclr, or per-channel for images of other "
        "than three channels.",
        "axis",
    )
    lrs: Rates = field(
        ("0.3x", "1x", "3x"),
        "Learning rates: numbers, or multiples of the rate of each method's recipe for the network and batch size.",
        "axis",
        min_length=1,
    )
    per_class: Sizes = field(
        (5, 20, "all"),
        "Images (or labels) per class: numbers, or shares of each class such as 1%,10%; 'all' for all of them.",
        "axis",
    )
    seeds: int = field(1, "Number of repetitions, seeds 0 to N-1.", "axis", ge=1)
    protocol: Protocol = field(
        "auto",
        "data-regime: n images per class are all that training and probe see. label-efficiency: "
        "train on all images without labels, probe with n labels per class. auto: label-efficiency where some of the "
        "images have no label, else data-regime.",
        "identity",
    )

    @field_validator("backbones")
    @classmethod
    def _networks(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return different_networks([NetworkSource.parse(text, info.data.get("weights", AUTO)) for text in value])

    @field_validator("references")
    @classmethod
    def _references(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return different_networks([NetworkSource.trained(text) for text in value if text != NONE])

    @property
    def named_methods(self) -> tuple[str, ...]:
        """The methods, without the words that stand for others until the images are known."""
        return tuple(name for name in self.methods if name not in (AUTO, ALL))

    @property
    def networks(self) -> tuple[NetworkSource, ...]:
        """The networks to compare, and where their weights come from."""
        return tuple(map(NetworkSource.parse, self.backbones))

    @property
    def reference_networks(self) -> tuple[NetworkSource, ...]:
        """The references, and where their weights come from."""
        return tuple(map(NetworkSource.parse, self.references))
