"""How a cell is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from selfsup.config.field_roles import Fields, field
from selfsup.config.field_types import MOST_EPOCHS

#: What ``image_size = "auto"`` may come to, and the largest that can be asked for; in pixels.
AUTO_SIDES, LARGEST_SIDE = range(64, 225, 32), 1024


def with_named_epochs(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values in which epochs that are named are all there are, unless ``min_steps`` is named beside them."""
    return {"min_steps": 0, **values} if "epochs" in values else {**values}


class TrainingFields(Fields):
    """Steps, views, schedule, and the settings of methods."""

    epochs: int = field(100, "Passes over the training images.", "identity", ge=1, le=MOST_EPOCHS)
    min_steps: int = field(
        1000,
        "Steps of a training, at least: an epoch of few images passes over them so many times that its epochs come to "
        "them; 0: once, however few they are, as where --epochs is given without this.",
        "identity",
        ge=0,
    )
    batch_size: int = field(128, "Source images per step.", "identity", ge=2)
    image_size: Annotated[int, Field(ge=8, le=LARGEST_SIDE)] | Literal["auto"] = field(
        "auto",
        "Side of a view, in pixels. auto: the images' median short side, to the nearest multiple of 32 in 64 to 224.",
        "identity",
    )
    grow_from: float = field(
        1.0,
        "Side of the first epoch's views as a share of the image size; they grow over two thirds of the epochs. "
        "1: views of one size.",
        "identity",
        gt=0,
        le=1,
    )
    schedule: Literal["cosine", "constant"] = field("cosine", "Learning-rate schedule.", "identity")
    warmup_epochs: float = field(
        5.0,
        "Epochs of linear warm-up of the learning rate, at most a tenth of all.",
        "identity",
        ge=0,
    )
    patience: int = field(
        0,
        "End a training after so many online kNN scores in a row, on views of full size, without a new best (needs "
        "--knn-every); 0: never.",
        "identity",
        ge=0,
    )
    settings: dict[str, dict[str, Any]] = field(
        {}, "Settings of single methods, for example moco.temperature=0.1.", "identity"
    )

    @model_validator(mode="before")
    @classmethod
    def _named_epochs(cls, values: Any) -> Any:
        return with_named_epochs(values) if isinstance(values, Mapping) else values
