"""The configuration of a study: all that can be asked."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import PositiveInt, field_validator

from selfsup.config.data_fields import DataFields
from selfsup.config.durations import Duration
from selfsup.config.evaluation_fields import EvaluationFields, metric_for
from selfsup.config.field_roles import Role, field
from selfsup.config.field_types import Names, no_repeats
from selfsup.config.grid_fields import GridFields
from selfsup.config.network_source import AUTO
from selfsup.config.training_fields import AUTO_SIDES, TrainingFields


# Fields come in the order of the bases from last to first, then those of the class itself.
class StudyConfig(EvaluationFields, TrainingFields, GridFields, DataFields):
    """Everything that can be asked of a study; here the fields that say how the work is done.

    The defaults are the values of the preset ``recommended``.
    """

    device: str = field("auto", "auto, cpu, cuda, cuda:N or mps.", "identity")
    devices: int = field(
        1,
        "Devices that train each cell together: GPUs, or on a CPU processes. The last digits of a result depend on it.",
        "identity",
        ge=1,
    )
    fuse: PositiveInt | Literal["auto"] = field(
        "auto",
        "Learning rates that are trained together, as one batched network, which is made for GPUs and small views. "
        "The last digits of a result depend on it. auto: 1.",
        "identity",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = field("auto", "Arithmetic of the training.", "identity")
    threads: int | None = field(
        None,
        "CPU threads per cell. Default: the cores divided by the workers when the study begins. "
        "The last digits of a result depend on it.",
        "identity",
        ge=1,
        le=1024,
    )
    workers: PositiveInt | Literal["auto"] = field("auto", "Cells trained at the same time.", "runtime")
    keep: Literal["best", "all", "none"] = field(
        "best",
        "Which cells keep their backbone's weights: those of the chosen settings (best), all, or none. "
        "Stays as it is in a study until it is named again.",
        "contents",
    )
    checkpoint_seconds: float = field(20.0, "Seconds between checkpoints of a running cell.", "runtime", gt=0)
    track: Names = field(
        (), "Trackers that every finished cell is logged to (see `selfsup list trackers`).", "contents"
    )
    track_weights: bool = field(False, "Log a cell's weights to the trackers too.", "contents")
    budget: Duration = field(
        None,
        "Time of this command, such as 30m, 2h or 1d12h: runs the comparison that fits into it on this machine, and "
        "says what that leaves out.",
        "runtime",
    )
    scheduler: str = field(
        "none",
        "Stop trainings early whose augmentation and learning rate do worse on validation than others (see "
        "`selfsup list schedulers`): halving, asha; or none, which also finishes those that were stopped. "
        "Stays as it is in a study until it is named again.",
        "contents",
    )
    reduction_factor: int = field(
        3, "A scheduler lets one in so many trainings go on at each comparison.", "contents", ge=2
    )
    min_epochs: int | None = field(
        None,
        "Epochs before a scheduler's first comparison. Default: the epochs divided by the square of the reduction "
        "factor.",
        "contents",
        ge=1,
    )

    @field_validator("methods", "backbones", "augmentations", "lrs", "per_class", "evaluate", "finetune_lrs")
    @classmethod
    def _not_empty(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if not value:
            raise ValueError("needs at least one value")
        return value

    @field_validator(
        "data", "manifest", "pool", "data_root", "data_url", "test_data", "group", "weights", "backbones", "references"
    )
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
    def strong_policy(self) -> str:
        """The policy of SimCLR, or what stands in its place for images of other than three channels."""
        return "simclr" if self.in_channels == 3 else "per-channel"

    @property
    def policies(self) -> tuple[str, ...]:
        """The augmentation policies, once the images are known."""
        return no_repeats(tuple(self.strong_policy if name == AUTO else name for name in self.augmentations))

    @property
    def side(self) -> int:
        """Side of a view in pixels, once `image_size` no longer is ``"auto"``."""
        assert self.image_size != "auto", "it is resolved once the images are known"
        return self.image_size

    @property
    def fuses(self) -> bool:
        """Whether several learning rates are trained as one batched network."""
        return self.fuse != "auto" and self.fuse > 1

    @property
    def resolved_store_size(self) -> int:
        """Longest allowed short side of a stored image, in pixels."""
        side = max(AUTO_SIDES) if self.image_size == "auto" else self.image_size
        return self.store_size or max(256, math.ceil(side * 8 / 7))

    def with_protocol_for(self, *, pool: bool) -> StudyConfig:
        """The configuration with ``protocol = "auto"`` resolved for images of which some, or none, have no label."""
        if self.protocol != "auto":
            return self
        return self.model_copy(update={"protocol": "label-efficiency" if pool else "data-regime"})

    def with_metric_for(self, *, several: bool) -> StudyConfig:
        """The configuration with ``metric = "auto"`` resolved for images of one label each, or of several.

        Raises
        ------
        UserError
            If images with several labels cannot be judged by the metric that is named.
        """
        return self.model_copy(update={"metric": metric_for(self.metric, several=several)})

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
