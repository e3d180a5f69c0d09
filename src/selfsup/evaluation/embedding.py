"""Embeddings of images as they are: the backbone in evaluation mode, no augmentation, float32."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from selfsup.backbones import Backbone
from selfsup.seeding import derive_seed
from selfsup.training.batches import Images
from selfsup.views.base import Policy, to_device
from selfsup.views.none_policy import policy as plain_view

T = TypeVar("T")

#: Most images that a measure without labels looks at.
MEASURED_IMAGES = 1_000
#: Images that are embedded at once, and as they are on a GPU, where more of them take hardly longer.
BATCH, GPU_BATCH = 128, 256
#: Whether those on a GPU are so many, and read in a thread: not before it was measured.
AHEAD_ON_CUDA = False


@dataclass(frozen=True)
class Embedded:
    """Embeddings of some images of the store.

    Attributes
    ----------
    indices : ndarray of int64, shape (n,)
        Ascending places in the store.
    features : ndarray of float32, shape (n, width)
    """

    indices: np.ndarray
    features: np.ndarray

    def of(self, indices: np.ndarray) -> np.ndarray:
        """Embeddings of the images at `indices`, all of which must be here."""
        return self.features[np.searchsorted(self.indices, indices)]


def unit_rows(x: np.ndarray) -> np.ndarray:
    """The rows at length 1; a row of zeros stays one."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def sample_rows(features: np.ndarray, seed: int) -> np.ndarray:
    """At most `MEASURED_IMAGES` rows, the same of every embedding of as many images."""
    if len(features) <= MEASURED_IMAGES:
        return features
    rows = np.random.default_rng(derive_seed(seed, "measured")).choice(len(features), MEASURED_IMAGES, replace=False)
    return features[np.sort(rows)]


def embed(backbone: Backbone, images: Images, indices: np.ndarray, *, image_size: int, device: str) -> np.ndarray:
    """Embeddings of the images at `indices`.

    The short side is resized to `image_size` and the centre is cropped. Always in float32, so that
    an embedding does not depend on the precision of the training or on its batch-mates.

    Returns
    -------
    ndarray of float32, shape (len(indices), num_features)
    """
    at_once = GPU_BATCH if _reads_ahead(device) else BATCH
    plain = batches(images, indices, plain_view, image_size=image_size, device=device, at_once=at_once)
    return _run(backbone, plain, len(indices), device)


def embed_views(
    backbone: Backbone,
    images: Images,
    indices: np.ndarray,
    policy: Policy,
    count: int,
    *,
    image_size: int,
    device: str,
) -> np.ndarray:
    """Embeddings of `count` random views of each image, the same views at every call and of every size.

    Returns
    -------
    ndarray of float32, shape (count, len(indices), num_features)
    """
    streams = (
        batches(images, indices, policy, image_size=image_size, device=device, stream=stream)
        for stream in range(1, count + 1)
    )
    return np.stack([_run(backbone, views, len(indices), device) for views in streams])


def batches(
    images: Images,
    indices: np.ndarray,
    policy: Policy,
    *,
    image_size: int,
    device: str,
    stream: int = 0,
    at_once: int = BATCH,
) -> Iterator[Tensor]:
    """Views of the images at `indices`, the same at every call with the same number of the stream.

    Also of every size: what is random is drawn for `at_once` images together. Of views larger than most, as many pixels
    are computed at once as of those of 224 px, which fit into the memory of a laptop.
    """
    part = max(1, int(at_once * min(1.0, (224 / image_size) ** 2)))
    starts = range(0, len(indices), at_once)
    read = (images.batch(indices[start : start + at_once]) for start in starts)
    for start, (pixels, sizes) in zip(starts, _ahead(read) if _reads_ahead(device) else read, strict=True):
        generator = torch.Generator().manual_seed(derive_seed(0, "evaluation", stream, start))
        params = policy.draw(sizes, image_size, generator)
        for some in (slice(first, first + part) for first in range(0, len(pixels), part)):
            yield policy.apply(to_device(pixels[some], torch.device(device)), sizes[some], params[some], image_size)


def _reads_ahead(device: str) -> bool:
    return AHEAD_ON_CUDA and device.startswith("cuda")


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The items, each made in a thread while the one before it is used."""
    with ThreadPoolExecutor(1, "images") as thread:
        made = thread.submit(next, items, None)
        while (item := made.result()) is not None:
            made = thread.submit(next, items, None)
            yield item


@torch.no_grad()
def _run(backbone: Backbone, views: Iterator[Tensor], count: int, device: str) -> np.ndarray:
    was_training = backbone.training
    backbone.eval().to(device)
    features = torch.empty(count, backbone.num_features, device=device)  # read once: every reading waits for the device
    filled = 0
    for batch in views:
        features[filled : filled + len(batch)] = backbone(batch)
        filled += len(batch)
    backbone.train(was_training)
    return features.cpu().numpy()
