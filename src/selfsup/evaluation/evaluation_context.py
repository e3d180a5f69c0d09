"""What an evaluator is given: the embeddings of a cell, their labels, and the network that they come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfsup.backbones import Backbone
from selfsup.config.schema import StudyConfig
from selfsup.evaluation.embedding import batches, embed_views, sample_rows
from selfsup.evaluation.linear_probe import LinearProbe, fit_linear_probe
from selfsup.training.batches import Images
from selfsup.training.callbacks import Callbacks
from selfsup.views import load_policy
from selfsup.views.none_policy import policy as plain_view


@dataclass(frozen=True)
class TrainedNetwork:
    """A network and the images that it is evaluated on; shared by all cells of a training.

    Attributes
    ----------
    backbone : Backbone
    images : Images
        The store.
    labels : ndarray of int64, shape (N,), or bool, shape (N, labels)
        Class of every image of the store, -1 where it is unknown; or which labels each has, where it may have several.
    viewed : ndarray of int64
        Places of the images of which random views are embedded.
    config : StudyConfig
    fabric : lightning_fabric.Fabric
        Device and precision of trainings.
    device : str
        Where to compute.
    """

    backbone: Backbone
    images: Images
    labels: np.ndarray
    viewed: np.ndarray
    config: StudyConfig
    fabric: Any
    device: str

    @cached_property
    def views(self) -> np.ndarray:
        """Embeddings of random views under SimCLR's policy (or its stand-in), shape (views, images, width).

        The same views for every network; as many, at least 2, as LiDAR can be computed from.
        """
        count = views_wanted(len(self.viewed), self.backbone.num_features)
        return embed_views(
            self.backbone, self.images, self.viewed, load_policy(self.config.strong_policy), count,
            image_size=self.backbone.image_size, device=self.device,
        )  # fmt: skip

    @torch.no_grad()
    def outputs(self, look: Callable[[Tensor], Sequence[Tensor]], indices: np.ndarray) -> list[Tensor]:
        """What `look`, such as ``backbone.levels``, makes of the images at `indices` as they are.

        For what a pooled embedding does not hold.

        Parameters
        ----------
        look : callable
            From a batch of images on `device`, with the backbone in evaluation mode and without gradients, to tensors
            with an entry per image.
        indices : ndarray of int64, shape (n,)
            Places in the store, at least one.

        Returns
        -------
        list of Tensor
            Each joined over the batches: of length n, on `device`.
        """
        was_training = self.backbone.training
        self.backbone.eval().to(self.device)
        plain = batches(self.images, indices, plain_view, image_size=self.backbone.image_size, device=self.device)
        looks = [look(batch) for batch in plain]
        self.backbone.train(was_training)
        return [torch.cat(parts) for parts in zip(*looks, strict=True)]


@dataclass(frozen=True)
class Part:
    """Some images with their embeddings and classes.

    Attributes
    ----------
    indices : ndarray of int64, shape (n,)
        Places in the store.
    x : ndarray of float32, shape (n, width)
    y : ndarray of int64, shape (n,), or bool, shape (n, labels)
        Classes, -1 where they are unknown; or which labels each image has.
    """

    indices: np.ndarray
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class EvaluationContext:
    """What an evaluator may read of a cell.

    Attributes
    ----------
    train, val, test : Part
        Images to fit on, to choose by, and to quote. Without labels the first two are empty, and the
        third holds those that structure is looked for in.
    classes : tuple of str
        Names of classes, or labels; empty where images have none.
    seed : int
        Of the cell; draws what is drawn at random.
    subset : ndarray of int64
        Places in the store of all training images of the cell, of which `train` may be a part.
    network : TrainedNetwork
    callbacks : callable
        From the name of a training within the evaluation to callbacks that keep its checkpoints, and heed
        a request to stop.
    external : Part or None
        Images from elsewhere, to quote and never to choose by; their places are those of a store of their own.
    """

    train: Part
    val: Part
    test: Part
    classes: tuple[str, ...]
    seed: int
    subset: np.ndarray
    network: TrainedNetwork
    callbacks: Callable[[str], Callbacks]
    external: Part | None = None

    @property
    def config(self) -> StudyConfig:
        return self.network.config

    @property
    def device(self) -> str:
        return self.network.device

    @property
    def labelled(self) -> bool:
        return len(self.classes) > 0

    @property
    def several(self) -> bool:
        """Whether images may have several labels."""
        return self.test.y.ndim == 2

    @cached_property
    def sample(self) -> np.ndarray:
        """The embeddings that measures without labels look at: of the test images, or some of them."""
        return sample_rows(self.test.x, self.seed)

    @cached_property
    def probe(self) -> LinearProbe:
        """The linear probe, for all who look at its predictions."""
        return fit_linear_probe(
            self.train.x, self.train.y, self.val.x, self.val.y,
            num_classes=len(self.classes), solver=self.config.probe, device=self.device, seed=self.seed,
        )  # fmt: skip

    @property
    def val_probabilities(self) -> np.ndarray:
        """The probe's probabilities of the validation images, shape (n, classes); not kept, for they may be many."""
        return self.probe.probabilities(self.val.x)

    @cached_property
    def test_probabilities(self) -> np.ndarray:
        """The same of the test images."""
        return self.probe.probabilities(self.test.x)


def views_wanted(images: int, width: int) -> int:
    """Views of each of `images` images from which LiDAR can be computed, at least 2."""
    return max(2, 1 + -(-width // images))
