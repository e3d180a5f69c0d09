"""Embeddings of images as they are: the backbone in evaluation mode, no augmentation, float32."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from selfsup.backbones import Backbone
from selfsup.seeding import derive_seed
from selfsup.training.loop import Images
from selfsup.views.base import Policy
from selfsup.views.none_policy import policy as plain_view


def embed(
    backbone: Backbone, images: Images, indices: np.ndarray, *, image_size: int, device: str, batch_size: int = 128
) -> np.ndarray:
    """Embeddings of the images at `indices`.

    The short side is resized to `image_size` and the centre is cropped. Always in float32, so that
    an embedding does not depend on the precision of the training or on its batch-mates.

    Returns
    -------
    ndarray of float32, shape (len(indices), num_features)
    """
    views = _views(images, indices, plain_view, image_size, device, batch_size, stream=0)
    return _run(backbone, views, len(indices), device)


def embed_views(
    backbone: Backbone,
    images: Images,
    indices: np.ndarray,
    policy: Policy,
    count: int,
    *,
    image_size: int,
    device: str,
    batch_size: int = 128,
) -> np.ndarray:
    """Embeddings of `count` random views of each image, the same views at every call.

    Returns
    -------
    ndarray of float32, shape (count, len(indices), num_features)
    """
    return np.stack(
        [
            _run(
                backbone,
                _views(images, indices, policy, image_size, device, batch_size, stream),
                len(indices),
                device,
            )
            for stream in range(1, count + 1)
        ]
    )


def _views(
    images: Images, indices: np.ndarray, policy: Policy, image_size: int, device: str, batch_size: int, stream: int
) -> Iterator[Tensor]:
    for start in range(0, len(indices), batch_size):
        pixels, sizes = images.batch(indices[start : start + batch_size])
        generator = torch.Generator().manual_seed(derive_seed(0, "evaluation", stream, start))
        yield policy(pixels.to(device), sizes, image_size, generator)


@torch.no_grad()
def _run(backbone: Backbone, views: Iterator[Tensor], count: int, device: str) -> np.ndarray:
    was_training = backbone.training
    backbone.eval().to(device)
    features = np.empty((count, backbone.num_features), np.float32)
    filled = 0
    for batch in views:
        features[filled : filled + len(batch)] = backbone(batch).float().cpu().numpy()
        filled += len(batch)
    backbone.train(was_training)
    return features
