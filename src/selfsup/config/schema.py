"""The configuration of a study: its fields, what each may be, and its role when the study is continued.

The roles:

``axis``
    an axis of the grid; may grow from one run to the next
``plugins``
    files with implementations from outside; more may come, and none may change
``identity``
    changes the numbers; must stay as it was when the study began
``place``
    where the images lie; free to change, for the study knows its images by their contents
``contents``
    changes only which cells are finished, or what is kept beside the numbers; stays until a command names
    another value, because a command that leaves it out must not remove, or leave unfinished, what an
    earlier one asked to keep
``runtime``
    changes only how the work is done; holds for one command and is not part of the study
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationInfo, field_validator

from selfsup.config.field_types import Files, Lrs, Names, Rates, Sizes, different_networks
from selfsup.config.grid import Protocol
from selfsup.config.network_source import AUTO, NONE, PUBLISHED, NetworkSource

Role = Literal["axis", "plugins", "identity", "place", "contents", "runtime"]
#: What ``image_size = "auto"`` may come to, and the largest that can be asked for; in pixels.
AUTO_SIDES, LARGEST_SIDE = range(64, 225, 32), 1024
#: Pixels of the largest image that Pillow opens if it is left to itself.
MAX_PIXELS = 178_956_970


def _field(default: Any, help: str, role: Role, **constraints: Any) -> Any:
    return Field(default, description=help, json_schema_extra={"role": role}, **constraints)


class StudyConfig(BaseModel):
    """Everything that can be asked of a study. Field names are option names with ``_`` for ``-``.

    The defaults are the values of the preset ``recommended``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    data: str = _field(
        "digits",
        "A folder of images, or the name of a data set (see `selfsup list datasets`).",
        "place",
    )
    data_root: str | None = _field(None, "Folder that already holds a named data set's files.", "runtime")
    data_url: str | None = _field(
        None, "Address or local zip that stands in for a data set's published one.", "runtime"
    )
    unlabelled: bool = _field(False, "Ignore folder names; treat the images as unlabelled.", "identity")
    group: str | None = _field(
        None,
        "Keep images that belong together on one side of the split: a regular expression on the "
        "path (its first group, or the whole match), or a CSV file with columns path,group.",
        "identity",
    )
    val_fraction: float = _field(0.1, "Share of each class held out for validation.", "identity", gt=0, lt=0.5)
    test_fraction: float = _field(0.2, "Share of each class held out for the test.", "identity", gt=0, lt=0.5)
    split_seed: int = _field(0, "Seed of the train/validation/test split.", "identity", ge=0)

    split_duplicates: bool = _field(
        False,
        "Divide copies of an image (equal, resized or compressed anew) as if they were different images; by default "
        "they stay on one side of the split.",
        "identity",
    )

    plugin: Files = _field(
        (),
        "A Python file that brings a method, augmentation policy, data set, evaluator or executor under its name; "
        "may be given several times.",
        "plugins",
    )
    methods: Names = _field(("simclr", "moco", "byol", "supervised", "frozen", "random"), "Methods to compare.", "axis")
    augmentations: Names = _field(("weak", "simclr"), "Augmentation policies.", "axis")
    lrs: Rates = _field(
        ("0.3x", "1x", "3x"),
        "Learning rates: numbers, or multiples of the rate of each method's recipe for the network and batch size.",
        "axis",
        min_length=1,
    )
    per_class: Sizes = _field((5, 20, "all"), "Images (or labels) per class; 'all' for all of them.", "axis")
    seeds: int = _field(1, "Number of repetitions, seeds 0 to N-1.", "axis", ge=1)
    protocol: Protocol = _field(
        "data-regime",
        "data-regime: n images per class are all that training and probe see. label-efficiency: "
        "train on all images without labels, probe with n labels per class.",
        "identity",
    )

    epochs: int = _field(100, "Passes over the training images.", "identity", ge=1)
    min_steps: int = _field(
        0,
        "Steps of a training, at least: an epoch of few images passes over them so many times that its epochs come to "
        "them; 0: once, however few they are.",
        "identity",
        ge=0,
    )
    batch_size: int = _field(128, "Source images per step.", "identity", ge=2)
    image_size: Annotated[int, Field(ge=8, le=LARGEST_SIDE)] | Literal["auto"] = _field(
        "auto",
        "Side of a view, in pixels. auto: the images' median short side, to the nearest multiple of 32 in 64 to 224.",
        "identity",
    )
    grow_from: float = _field(
        1.0,
        "Side of the first epoch's views as a share of the image size; they grow over two thirds of the epochs. "
        "1: views of one size.",
        "identity",
        gt=0,
        le=1,
    )
    store_size: int | None = _field(
        None,
        "Longest allowed short side of a stored image, in pixels; larger images are shrunk once. "
        "Default: the larger of 256 and 8/7 of the image size.",
        "identity",
        ge=8,
    )
    full_scale: float | None = _field(
        None,
        "0 to this value becomes black to white in all images of more than 8 bits. Default: decided from the images, "
        "for integers and floating-point numbers apart, and said.",
        "identity",
        gt=0,
    )
    pages: Literal["first", "all"] = _field(
        "first",
        "What files of several pages or frames give: their first, or all, each an image; those of a file are a group.",
        "identity",
    )
    max_pixels: int = _field(
        MAX_PIXELS, "Images of more pixels are set aside: opening one takes that much memory.", "identity", ge=1
    )
    schedule: Literal["cosine", "constant"] = _field("cosine", "Learning-rate schedule.", "identity")
    warmup_epochs: float = _field(
        5.0,
        "Epochs of linear warm-up of the learning rate, at most a tenth of all.",
        "identity",
        ge=0,
    )
    patience: int = _field(
        0,
        "End a training after so many online kNN scores in a row, on views of full size, without a new best (needs "
        "--knn-every); 0: never.",
        "identity",
        ge=0,
    )
    settings: dict[str, dict[str, Any]] = _field(
        {}, "Settings of single methods, for example moco.temperature=0.1.", "identity"
    )

    evaluate: Names = _field(
        ("probe",),
        "What cells are evaluated by beside what is computed of every cell: finetune (backbone and classifier), "
        "attentive (a probe on patches), layers (a probe on the best level), or others of `selfsup list evaluators`.",
        "identity",
    )
    probe: Literal["logistic", "sgd"] = _field(
        "logistic", "Linear probe: penalised logistic regression, or the papers' 100 epochs of SGD.", "identity"
    )
    knn_neighbours: int = _field(20, "Nearest neighbours that vote on a class.", "identity", ge=1)
    knn_temperature: float = _field(0.07, "Temperature of the neighbours' votes.", "identity", gt=0)
    knn_every: int = _field(
        0,
        "Epochs between nearest-neighbour scores of validation images in the training log; 0: none.",
        "identity",
        ge=0,
    )
    finetune_epochs: int = _field(30, "Epochs of fine-tuning.", "identity", ge=1)
    finetune_lrs: Lrs = _field((0.003, 0.03), "Learning rates that fine-tuning chooses from.", "identity")

    weights: str = _field(
        "auto",
        "Initial weights of the networks that --backbones names without @: none, imagenet (those that timm publishes), "
        "auto (those where they can be had, else none), or a file.",
        "runtime",
        min_length=1,
    )
    backbones: Names = _field(
        ("resnet18",),
        "Networks to compare: any timm model names, each with @ and its initial weights if need be.",
        "axis",
    )
    references: Names = _field(
        ("vit_small_patch16_dinov3.lvd1689m", "resnet50.tv_in1k", "tf_efficientnet_lite0.in1k"),
        "Trained networks to be judged as they are, at their own input size: timm's names, each with @ and a file or "
        "folder of its weights if need be; or none.",
        "axis",
    )
    allow_partial_weights: bool = _field(
        False, "Take a file of weights that fits the backbone in part only; the rest stays untrained.", "identity"
    )
    stem: Literal["standard", "small"] = _field(
        "standard", "small: 3x3 first convolution, no pooling, for ResNets on small images.", "identity"
    )

    device: str = _field("auto", "auto, cpu, cuda, cuda:N or mps.", "identity")
    devices: int = _field(
        1,
        "Devices that train each cell together: GPUs, or on a CPU processes. The last digits of a result depend on it.",
        "identity",
        ge=1,
    )
    fuse: PositiveInt | Literal["auto"] = _field(
        "auto",
        "Learning rates that are trained together, as one batched network, which is made for GPUs and small views. "
        "The last digits of a result depend on it. auto: 1.",
        "identity",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = _field("auto", "Arithmetic of the training.", "identity")
    threads: int | None = _field(
        None,
        "CPU threads per cell. Default: the cores divided by the workers when the study begins. "
        "The last digits of a result depend on it.",
        "identity",
        ge=1,
    )
    workers: PositiveInt | Literal["auto"] = _field("auto", "Cells trained at the same time.", "runtime")
    keep: Literal["best", "all", "none"] = _field(
        "best",
        "Which cells keep their backbone's weights: those of the chosen settings (best), all, or none. "
        "Stays as it is in a study until it is named again.",
        "contents",
    )
    checkpoint_seconds: float = _field(20.0, "Seconds between checkpoints of a running cell.", "runtime", gt=0)
    track: Names = _field(
        (), "Trackers that every finished cell is logged to (see `selfsup list trackers`).", "contents"
    )
    track_weights: bool = _field(False, "Log a cell's weights to the trackers too.", "contents")
    scheduler: str = _field(
        "none",
        "Stop trainings early whose augmentation and learning rate do worse on validation than others (see "
        "`selfsup list schedulers`): halving, asha; or none, which also finishes those that were stopped. "
        "Stays as it is in a study until it is named again.",
        "contents",
    )
    reduction_factor: int = _field(
        3, "A scheduler lets one in so many trainings go on at each comparison.", "contents", ge=2
    )
    min_epochs: int | None = _field(
        None,
        "Epochs before a scheduler's first comparison. Default: the epochs divided by the square of the reduction "
        "factor.",
        "contents",
        ge=1,
    )
    map_points: int = _field(5000, "Most points on a t-SNE map.", "identity", ge=10)

    @field_validator("backbones")
    @classmethod
    def _networks(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return different_networks([NetworkSource.parse(text, info.data.get("weights", AUTO)) for text in value])

    @field_validator("references")
    @classmethod
    def _references(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        sources = [NetworkSource.parse(text, PUBLISHED) for text in value if text != NONE]
        if any(source.weights in (NONE, AUTO) for source in sources):
            raise ValueError("must be trained networks: NAME for the published weights, or NAME@FILE")
        return different_networks(sources)

    @field_validator("methods", "backbones", "augmentations", "lrs", "per_class", "evaluate", "finetune_lrs")
    @classmethod
    def _not_empty(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if not value:
            raise ValueError("needs at least one value")
        return value

    @field_validator("evaluate")
    @classmethod
    def _evaluators(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # The choice of learning rates rests on the probe.
        return ("probe", *(name for name in value if name != "probe"))

    @field_validator("data", "data_root", "data_url", "group", "weights", "backbones", "references")
    @classmethod
    def _text(cls, value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        if any("\ud800" <= c <= "\udfff" for c in "".join(value or "")):
            raise ValueError("its name is not valid UTF-8, which TOML cannot hold; rename the file or folder")
        return value

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", value, flags=re.ASCII):
            raise ValueError("must be auto, cpu, cuda, cuda:N or mps")
        return value

    @property
    def networks(self) -> tuple[NetworkSource, ...]:
        """The networks to compare, and where their weights come from."""
        return tuple(map(NetworkSource.parse, self.backbones))

    @property
    def reference_networks(self) -> tuple[NetworkSource, ...]:
        """The references, and where their weights come from."""
        return tuple(map(NetworkSource.parse, self.references))

    @property
    def side(self) -> int:
        """Side of a view in pixels, once `image_size` no longer is ``"auto"``."""
        assert self.image_size != "auto", "it is resolved once the images are known"
        return self.image_size

    @property
    def resolved_store_size(self) -> int:
        """Longest allowed short side of a stored image, in pixels."""
        side = max(AUTO_SIDES) if self.image_size == "auto" else self.image_size
        return self.store_size or max(256, math.ceil(side * 8 / 7))

    def with_side_for(self, short_sides: Sequence[float]) -> StudyConfig:
        """The configuration with a side of views for images of these short sides in pixels, where it is ``"auto"``."""
        if self.image_size != "auto":
            return self
        typical = statistics.median(short_sides) if short_sides else max(AUTO_SIDES)
        return self.model_copy(update={"image_size": min(AUTO_SIDES, key=lambda side: abs(side - typical))})


def role_of(name: str) -> Role:
    """Role of the field `name` when a study is continued."""
    extra = StudyConfig.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    role: Role = extra["role"]  # type: ignore[assignment]
    return role


def names_of(role: Role) -> set[str]:
    """Fields of one role."""
    return {name for name in StudyConfig.model_fields if role_of(name) == role}
