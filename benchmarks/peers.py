"""lightly's documented training loops (its examples for PyTorch), in float32.

Its heads, losses and momentum updates; torchvision's ResNet-18; SGD with learning rate 0.06; a DataLoader that drops
the last batch. All three methods have the views of SimCLR's transform, for selfsup has one policy for all; it is given
the size of the view and, as in the examples for CIFAR, no blur where views are small.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torchvision
from lightly.loss import NegativeCosineSimilarity, NTXentLoss
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead, MoCoProjectionHead, SimCLRProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.transforms import SimCLRTransform
from lightly.utils.scheduler import cosine_schedule
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

from selfsup.views.crop_and_colour import BLUR_FROM

#: Mean and standard deviation of the channels of ImageNet, which lightly's transforms normalise by.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Trained:
    """A trained network and the images per second of each epoch."""

    backbone: nn.Module
    rates: list[float]


class InMemory(torch.utils.data.Dataset):
    """Decoded images through a transform, with a label that is not read, as torchvision's data sets give them."""

    def __init__(self, images: Sequence[Image.Image], transform: Callable[[Image.Image], Any]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(self.images[index]), 0


def full_batches(dataset: InMemory, batch_size: int, workers: int) -> torch.utils.data.DataLoader:
    """A loader of shuffled batches, without the last where that is not full; ends where a peer would train nothing."""
    if len(dataset) < batch_size:
        raise SystemExit(f"The {len(dataset)} training images are no whole batch of {batch_size}.")
    return torch.utils.data.DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


class SimCLR(nn.Module):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = SimCLRProjectionHead(512, 512, 128)
        self.criterion = NTXentLoss()

    def loss(self, x0: Tensor, x1: Tensor, momentum: float) -> Tensor:
        return self.criterion(self._project(x0), self._project(x1))

    def _project(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x).flatten(start_dim=1))


class MoCo(nn.Module):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = MoCoProjectionHead(512, 512, 128)
        self.backbone_momentum, self.head_momentum = copy.deepcopy(backbone), copy.deepcopy(self.head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.head_momentum)
        self.criterion = NTXentLoss(memory_bank_size=(4096, 128))

    def loss(self, x0: Tensor, x1: Tensor, momentum: float) -> Tensor:
        update_momentum(self.backbone, self.backbone_momentum, m=momentum)
        update_momentum(self.head, self.head_momentum, m=momentum)
        query = self.head(self.backbone(x0).flatten(start_dim=1))
        key = self.head_momentum(self.backbone_momentum(x1).flatten(start_dim=1)).detach()
        return self.criterion(query, key)


class BYOL(nn.Module):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = BYOLProjectionHead(512, 1024, 256)
        self.predictor = BYOLPredictionHead(256, 1024, 256)
        self.backbone_momentum, self.head_momentum = copy.deepcopy(backbone), copy.deepcopy(self.head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.head_momentum)
        self.criterion = NegativeCosineSimilarity()

    def loss(self, x0: Tensor, x1: Tensor, momentum: float) -> Tensor:
        update_momentum(self.backbone, self.backbone_momentum, m=momentum)
        update_momentum(self.head, self.head_momentum, m=momentum)
        p0, z0 = self._predict(x0), self._target(x0)
        p1, z1 = self._predict(x1), self._target(x1)
        return 0.5 * (self.criterion(p0, z1) + self.criterion(p1, z0))

    def _predict(self, x: Tensor) -> Tensor:
        return self.predictor(self.head(self.backbone(x).flatten(start_dim=1)))

    def _target(self, x: Tensor) -> Tensor:
        return self.head_momentum(self.backbone_momentum(x).flatten(start_dim=1)).detach()


MODELS: dict[str, Callable[[nn.Module], Any]] = {"simclr": SimCLR, "moco": MoCo, "byol": BYOL}


def transform(size: int) -> Any:
    """lightly's transform of SimCLR for this size of view, which selfsup's policy `simclr` is too."""
    return SimCLRTransform(input_size=size, gaussian_blur=0.5 if size >= BLUR_FROM else 0.0)


def resnet18() -> nn.Module:
    """torchvision's ResNet-18 without its classifier."""
    network = torchvision.models.resnet18()
    network.fc = nn.Identity()
    return network


def train(
    method: str,
    images: Sequence[Image.Image],
    *,
    size: int,
    epochs: int,
    batch_size: int,
    workers: int,
    seed: int,
    lr: float = 0.06,
    clock: Callable[[], float] = time.perf_counter,
    device: str = "cpu",
) -> Trained:
    """The loop of the example, timed epoch by epoch."""
    torch.manual_seed(seed)
    model = MODELS[method](resnet18()).to(device)
    loader = full_batches(InMemory(images, transform(size)), batch_size, workers)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    rates = []
    for epoch in range(epochs):
        total_loss = torch.zeros((), device=device)
        momentum = cosine_schedule(epoch, epochs, 0.996, 1) if epochs > 1 else 0.996
        started = clock()
        for batch in loader:
            x0, x1 = (view.to(device) for view in batch[0])
            loss = model.loss(x0, x1, momentum)
            total_loss += loss.detach()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        total_loss.item()  # the example prints it; until then the device may not have done
        rates.append(len(loader) * batch_size / (clock() - started))
    return Trained(model.backbone, rates)


@torch.no_grad()
def embed(
    backbone: nn.Module,
    images: Sequence[Image.Image],
    size: int,
    batch_size: int = 128,
    normalisation: tuple[Sequence[float], Sequence[float]] = IMAGENET,
) -> np.ndarray:
    """Embeddings of the images without augmentation; `normalisation`: mean and standard deviation of the channels."""
    view = v2.Compose(
        [
            v2.Resize(size, antialias=True),
            v2.CenterCrop(size),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(*normalisation),
        ]
    )
    backbone.eval()
    starts = range(0, len(images), batch_size)
    batches = (torch.stack([view(image) for image in images[start : start + batch_size]]) for start in starts)
    return torch.cat([backbone(batch) for batch in batches]).numpy()


def bare_rate(
    method: str,
    *,
    size: int,
    batch_size: int,
    precision: str,
    seconds: float = 8.0,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Images per second of nothing but the encoder's work in one step of the method.

    Both views that take a gradient go forward and backward in one batch, those that do not go
    forward, through torchvision's network, channels-last. No views are made, no head, no optimizer.
    """
    with_gradient, without = {"simclr": (2, 0), "moco": (1, 1), "byol": (2, 2)}[method]
    network = resnet18().to(memory_format=torch.channels_last)
    views = [
        torch.rand(count * batch_size, 3, size, size).to(memory_format=torch.channels_last)
        for count in (with_gradient, without)
    ]
    autocast = partial(torch.autocast, "cpu", torch.bfloat16, enabled=precision == "bf16")
    times: list[float] = []
    begun = clock()
    while len(times) < 4 or clock() - begun < seconds:
        started = clock()
        with autocast():
            if without:
                with torch.no_grad():
                    network(views[1])
            loss = network(views[0]).float().square().mean()
        loss.backward()
        network.zero_grad()
        times.append(clock() - started)
    return batch_size / float(np.median(times[1:]))
