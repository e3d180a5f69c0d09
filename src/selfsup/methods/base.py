"""What a method is: heads on a backbone, a loss over views, and what it does after each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from selfsup.backbones import Backbone
from selfsup.config.grid import Traits


@dataclass(frozen=True)
class Paper:
    """Where a method comes from."""

    authors: str
    year: int
    title: str
    url: str

    def __str__(self) -> str:
        return f"{self.authors} ({self.year}), {self.title}, {self.url}"


class Settings(BaseModel):
    """Hyper-parameters of a method; each method adds its own.

    Attributes
    ----------
    optimizer : {"sgd", "adam", "adamw", "lars"}
    optimizer_momentum : float
        Momentum of the optimizer (sgd and lars), in [0, 1).
    weight_decay : float
        At least 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimizer: Literal["sgd", "adam", "adamw", "lars"] = "sgd"
    optimizer_momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)


class Step(NamedTuple):
    """What one batch gives.

    Attributes
    ----------
    loss : Tensor
        Scalar, float32.
    embedding : Tensor
        Backbone's output for the batch, shape (n, num_features), the first views first; watched for
        collapse.
    pair : tuple of two Tensor, optional
        What the loss brings together: row i of both, shape (n, d), belongs to image i; watched for
        how similar views of one image, and of different images, are.
    """

    loss: Tensor
    embedding: Tensor
    pair: tuple[Tensor, Tensor] | None = None


class Method(nn.Module):
    """Base of every method. All state lives in ``state_dict``.

    Parameters
    ----------
    backbone : Backbone
        The network under study, trained in place; its width is ``backbone.num_features``.
    settings : Settings
        An instance of the method's own ``Settings``.
    num_classes : int
        Number of classes; 0 where there are no labels.
    num_images : int
        Number of training images.

    Attributes
    ----------
    paper : Paper
    traits : Traits
        What the grid must know of the method.
    views : int
        Views of each image that :meth:`loss` wants.
    keeps_weights : bool
        False if the method starts from random weights whatever initial weights are given.
    """

    paper: ClassVar[Paper]
    traits: ClassVar[Traits] = Traits()
    views: ClassVar[int] = 2
    keeps_weights: ClassVar[bool] = True
    Settings: ClassVar[type[Settings]] = Settings

    def __init__(self, backbone: Backbone, settings: Any, *, num_classes: int = 0, num_images: int = 0) -> None:
        super().__init__()
        self.backbone = backbone
        self.settings = settings

    def loss(self, views: Sequence[Tensor], labels: Tensor) -> Step:
        """Loss of one batch.

        Parameters
        ----------
        views : sequence of Tensor
            ``self.views`` tensors of shape (n, 3, side, side), float32 in [0, 1].
        labels : Tensor
            Shape (n,), int64; -1 where there is no label. Read only if ``traits.uses_labels``.
        """
        raise NotImplementedError

    def momentum(self, progress: float) -> float | None:
        """Momentum of the slowly moving copy after a share of the training; None where there is no copy.

        Parameters
        ----------
        progress : float
            Share of the training done, in (0, 1].
        """
        return None

    def after_step(self, progress: float) -> None:
        """Update what the optimizer does not: called by the loop after every optimizer step.

        Parameters
        ----------
        progress : float
            Share of the training done, in (0, 1].
        """
