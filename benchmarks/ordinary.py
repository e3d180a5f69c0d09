"""Methods in the ordinary way: lightly's classes, or a few lines of the paper's, and torchvision's transforms.

Network, heads, views and hyper-parameters are those of selfsup's method, which are read from it: what differs is the
code. Each view passes the network by itself, in float32, as in lightly's examples, so that batch normalisation sees one
view at a time; selfsup's methods pass all views of a size at once. Where there are small crops, views of a size pass
together here too, as in the code of SwAV's and DINO's authors: one after another, after the large ones, they would
leave statistics of themselves, by which whole images are judged. A DataLoader makes the views.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from lightly.loss import (
    BarlowTwinsLoss,
    DCLLoss,
    DINOLoss,
    NegativeCosineSimilarity,
    NTXentLoss,
    SwaVLoss,
    VICRegLoss,
)
from lightly.loss.lejepa_loss import LeJEPALoss
from lightly.models.modules import (
    MaskedVisionTransformerDecoderTIMM,
    MaskedVisionTransformerTIMM,
    NNMemoryBankModule,
)
from lightly.models.modules.heads import DINOProjectionHead
from lightly.models.utils import (
    deactivate_requires_grad,
    get_at_index,
    normalize_mean_var,
    patchify,
    random_token_mask,
    repeat_token,
    set_at_index,
    update_momentum,
)
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from bare import use_plain_convolutions
from peers import InMemory, Trained, full_batches
from selfsup.backbones.backbone import Backbone
from selfsup.methods import Method
from selfsup.training.optimizers import recipe_of
from selfsup.views.crop_and_colour import BLUR_FROM

Views = Sequence[Tensor]


def head(*widths: int, last_norm: bool = False) -> nn.Sequential:
    """Linear layers with batch normalisation and ReLU between them."""
    layers: list[nn.Module] = []
    for place, (before, after) in enumerate(pairwise(widths), start=2):
        last = place == len(widths)
        layers += [nn.Linear(before, after, bias=last and not last_norm)]
        layers += [] if last and not last_norm else [nn.BatchNorm1d(after)]
        layers += [] if last else [nn.ReLU()]
    return nn.Sequential(*layers)


def plain(backbone: Backbone) -> nn.Module:
    """A copy of a backbone's network, its weights included, with torch's own convolutions."""
    network = copy.deepcopy(backbone.network)
    use_plain_convolutions(network)
    return network


class Ordinary(nn.Module):
    """A backbone, its projector, and a loss of the large and the small views of images.

    Parameters
    ----------
    ours : Method
        selfsup's method, of which settings and sizes are read.
    """

    def __init__(self, ours: Any) -> None:
        super().__init__()
        self.settings = ours.settings
        self.backbone, self.width = plain(ours.backbone), ours.backbone.num_features

    def loss(self, large: Views, small: Views, labels: Tensor, share: float) -> Tensor:
        raise NotImplementedError

    def after_step(self) -> None:
        """What follows the optimizer's step."""


def by_size(network: Callable[[Tensor], Tensor], *groups: Views) -> list[Tensor]:
    """What a network makes of each view, those of a size in one pass."""
    return [made for views in groups for made in network(torch.cat(list(views))).chunk(len(views))]


class Contrast(Ordinary):
    """SimCLR, DCL and SupCon, by their loss."""

    def __init__(self, ours: Any) -> None:
        super().__init__(ours)
        self.projector = head(self.width, self.settings.hidden_dim, self.settings.output_dim, last_norm=True)

    def loss(self, large: Views, small: Views, labels: Tensor, share: float) -> Tensor:
        first, second = (self.projector(self.backbone(view)) for view in large)
        return self.contrast(first, second, labels)


class SimCLR(Contrast):
    def contrast(self, first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
        return NTXentLoss(temperature=self.settings.temperature)(first, second)


class DCL(Contrast):
    def contrast(self, first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
        return DCLLoss(temperature=self.settings.temperature)(first, second)


class SupCon(Contrast):
    def contrast(self, first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
        """Khosla et al. 2020, equation 2."""
        z, classes = F.normalize(torch.cat([first, second]), dim=1), torch.cat([labels, labels])
        itself = torch.eye(len(z), dtype=torch.bool)
        logs = (z @ z.T / self.settings.temperature).masked_fill(itself, -1e9).log_softmax(dim=1)
        positives = (classes[:, None] == classes) & ~itself
        return -((logs * positives).sum(dim=1) / positives.sum(dim=1)).mean()


class Follows(Ordinary):
    """With a momentum encoder of backbone and projector."""

    def build(self, projector: Callable[[], nn.Module], predictor: nn.Module | None = None) -> None:
        self.projector, self.target_projector = projector(), projector()
        self.target_projector.load_state_dict(self.projector.state_dict())
        self.predictor = predictor or nn.Identity()
        self.target_backbone = copy.deepcopy(self.backbone)
        deactivate_requires_grad(self.target_backbone)
        deactivate_requires_grad(self.target_projector)
        self.momentum = 0.99

    def query(self, view: Tensor) -> Tensor:
        return self.predictor(self.projector(self.backbone(view)))

    @torch.no_grad()
    def key(self, view: Tensor) -> Tensor:
        return self.target_projector(self.target_backbone(view))

    def after_step(self) -> None:
        update_momentum(self.backbone, self.target_backbone, m=self.momentum)
        update_momentum(self.projector, self.target_projector, m=self.momentum)


class MoCo(Follows):
    def __init__(self, ours: Any) -> None:
        super().__init__(ours)
        hidden, out = self.settings.hidden_dim, self.settings.output_dim
        self.build(lambda: nn.Sequential(nn.Linear(self.width, hidden), nn.ReLU(), nn.Linear(hidden, out)))
        self.criterion = NTXentLoss(self.settings.temperature, memory_bank_size=(len(ours.queue.keys), out))

    def loss(self, large: Views, small: Views, labels: Tensor, share: float) -> Tensor:
        return self.criterion(self.query(large[0]), self.key(large[1]))


class BYOL(Follows):
    def __init__(self, ours: Any) -> None:
        super().__init__(ours)
        hidden, out = self.settings.hidden_dim, self.settings.output_dim
        self.build(lambda: head(self.width, hidden, out), head(out, hidden, out))

    def loss(self, large: Views, small: Views, labels: Tensor, share: float) -> Tensor:
        self.momentum = 1 - 0.01 * (math.cos(math.pi * share) + 1) / 2
        pairs = ((large[0], large[1]), (large[1], large[0]))
        return sum(self.compare(self.query(one), self.key(other)) for one, other in pairs)  # type: ignore[return-value]

    def compare(self, query: Tensor, key: Tensor) -> Tensor:
        return NegativeCosineSimilarity()(query, key)


class MoCoV3(BYOL):
    """Its heads and its loss apart, BYOL."""

    def __init__(self, ours: Any) -> None:
        super().__init__(ours)
        self.projector, self.target_projector = copy.deepcopy(ours.projector), copy.deepcopy(ours.projector)
        self.predictor = copy.deepcopy(ours.predictor)
        deactivate_requires_grad(self.target_projector)

    def compare(self, query: Tensor, key: Tensor) -> Tensor:
        logits = F.normalize(query, dim=1) @ F.normalize(key, dim=1).T / self.settings.temperature
        return F.cross_entropy(logits, torch.arange(len(logits)))


class SimSiam(Ordinary):
    def __init__(self, ours: Any) -> None:
        super().__init__(ours)
        self.projector, self.predictor = copy.deepcopy(ours.projector), copy.deepcopy(ours.predictor)

    def loss(self, large: Views, small: Views, labels: Tensor, share: float) -> Tensor:
        first, second = (self.projector(self.backbone(view)) for view in large)
        criterion = NegativeCosineSimilarity()
        one = criterion(self.predictor(first), second.detach())
        return (one + criterion(self.predictor(second), first.detach())) / 2


class Redundancy(Ordinary):
    """Barlow Twins and VICReg."""

    def __init__(self, ours: Any, criterion: nn.Module) -> None:
        super().__init__(ours)
        hidden, out = self.settings.hidden_dim, self.settings.output_dim
        self.projector, self.criterion = head(self.width, hidden, hidden, out), criterion

    def loss(self, large: Views, small: Views, labels: Tensor, share: float) -> Tensor:
        first, second = (self.projector(self.backbone(view)) for view in large)
        return self.criterion(first, second)


class NNCLR(Ordinary):
    def __init__(self, ours: Any) -> None:
        super().__init__(ours)
        s = self.settings
        self.projector = head(self.width, s.hidden_dim, s.hidden_dim, s.output_dim, last_norm=True)
        self.predictor = head(s.output_dim, s.predictor_dim, s.output_dim)
        self.bank = NNMemoryBankModule(size=(len(ours.support.keys), s.output_dim))

    def loss(self, large: Views, small: Views, labels: Tensor, share: float) -> Tensor:
        (z1, z2) = (self.projector(self.backbone(view)) for view in large)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        near2, near1 = self.bank(z2.detach(), update=False), self.bank(z1.detach(), update=True)
        return (self._contrast(near1, p2) + self._contrast(near2, p1)) / 2

    def _contrast(self, neighbours: Tensor, predictions: Tensor) -> Tensor:
        logits = F.normalize(neighbours, dim=1) @ F.normalize(predictions, dim=1).T / self.settings.temperature
        return F.cross_entropy(logits, torch.arange(len(logits)))


class SwAV(Ordinary):
    def __init__(self, ours: Any) -> None:
        super().__init__(ours)
        self.projector = head(self.width, self.settings.hidden_dim, self.settings.output_dim)
        self.prototypes = nn.Linear(self.settings.output_dim, len(ours.prototypes), bias=False)
        self.criterion = SwaVLoss(self.settings.temperature)
        self.after_step()

    def loss(self, large: Views, small: Views, labels: Tensor, share: float) -> Tensor:
        embeddings = by_size(self.backbone, large, small)
        scores = [self.prototypes(F.normalize(self.projector(embedding), dim=1)) for embedding in embeddings]
        return self.criterion(scores[:2], scores[2:]).squeeze()

    @torch.no_grad()
    def after_step(self) -> None:
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))


class DINO(Follows):
    def __init__(self, ours: Any) -> None:
        super().__init__(ours)
        s, count = self.settings, len(ours.head.prototypes)
        self.build(lambda: DINOProjectionHead(self.width, s.hidden_dim, s.bottleneck_dim, count, batch_norm=True))
        self.criterion = DINOLoss(count, s.teacher_temperature, s.teacher_temperature, student_temp=s.temperature)

    def loss(self, large: Views, small: Views, labels: Tensor, share: float) -> Tensor:
        self.momentum = 1 - 0.01 * (math.cos(math.pi * share) + 1) / 2
        return self.criterion(by_size(self.key, large), by_size(self.query, large, small), epoch=0)

    @property
    def evaluated(self) -> nn.Module:
        return self.target_backbone


class LeJEPA(Ordinary):
    def __init__(self, ours: Any) -> None:
        super().__init__(ours)
        s = self.settings
        self.projector = head(self.width, s.hidden_dim, s.hidden_dim, s.output_dim)
        self.criterion = LeJEPALoss(s.weight, sigreg_t_max=5.0, sigreg_num_vectors=s.directions)

    def loss(self, large: Views, small: Views, labels: Tensor, share: float) -> Tensor:
        made = torch.stack([self.projector(embedding) for embedding in by_size(self.backbone, large, small)])
        return self.criterion(global_proj=made[: len(large)], local_proj=made[len(large) :])


class MAE(Ordinary):
    """A plain vision transformer of timm's, masked and decoded by lightly's classes."""

    def __init__(self, ours: Any) -> None:
        super().__init__(ours)
        s, vit = self.settings, self.backbone
        # As it began in selfsup: lightly would draw its weights anew, and give it fixed positions.
        self.backbone = MaskedVisionTransformerTIMM(vit, weight_initialization="skip", pos_embed_initialization="skip")
        self.patch, self.length = ours.backbone.patch_size, self.backbone.sequence_length
        self.embed = nn.Linear(vit.embed_dim, s.decoder_dim)
        self.decoder = MaskedVisionTransformerDecoderTIMM(
            vit.patch_embed.num_patches, s.decoder_dim, s.decoder_depth, s.decoder_heads
        )
        self.predict = nn.Linear(s.decoder_dim, 3 * self.patch**2)

    def loss(self, large: Views, small: Views, labels: Tensor, share: float) -> Tensor:
        size = (len(large[0]), self.length)
        keep, hidden = random_token_mask(size, mask_ratio=self.settings.mask_ratio)
        shown = self.embed(self.backbone.encode(large[0], idx_keep=keep))
        tokens = set_at_index(repeat_token(self.decoder.mask_token, size), keep, shown)
        predicted = self.predict(get_at_index(self.decoder.decode(self.decoder.add_pos_embed(tokens)), hidden))
        wanted = get_at_index(patchify(large[0], self.patch), hidden - 1)  # the first token is of no patch
        return F.mse_loss(predicted, normalize_mean_var(wanted))


MODELS: dict[str, Callable[[Any], Ordinary]] = {
    "simclr": SimCLR,
    "dcl": DCL,
    "supcon": SupCon,
    "moco": MoCo,
    "moco-v3": MoCoV3,
    "byol": BYOL,
    "simsiam": SimSiam,
    "barlow-twins": lambda ours: Redundancy(ours, BarlowTwinsLoss(ours.settings.redundancy)),
    "vicreg": lambda ours: Redundancy(ours, VICRegLoss()),
    "nnclr": NNCLR,
    "swav": SwAV,
    "dino": DINO,
    "lejepa": LeJEPA,
    "mae": MAE,
}
#: Settings of selfsup's method under which it does what the ordinary one does.
SAME: dict[str, dict[str, Any]] = {
    "byol": {"momentum": 0.99},
    "moco": {"momentum": 0.99, "shuffle_groups": 1},
    "moco-v3": {"momentum": 0.99, "frozen_patch_embedding": False},
    "dino": {"momentum": 0.99, "teacher_warmup": 0, "frozen_epochs": 0},
    "swav": {"frozen_epochs": 0, "queue_size": 0},
}


def normalisation(backbone: Backbone) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of the channels, as the network takes them."""
    return backbone.mean.flatten().tolist(), backbone.std.flatten().tolist()


def crops(ours: Method, size: int) -> Callable[[Image.Image], list[Tensor]]:
    """The views of selfsup's method by torchvision's transforms: its groups' crops, distorted as SimCLR does or not."""
    transforms = []
    for group in ours.view_groups():
        side, crop_only = group.pixels(size), ours.tags.augmentation == "crop"
        blur = v2.RandomApply([v2.GaussianBlur(side // 10 // 2 * 2 + 1, (0.1, 2.0))], 0.5)
        distort = [v2.RandomApply([v2.ColorJitter(0.8, 0.8, 0.8, 0.2)], 0.8), v2.RandomGrayscale(0.2)]
        transforms += [
            v2.Compose(
                [
                    v2.RandomResizedCrop(side, group.scale or (0.2 if crop_only else 0.08, 1.0), antialias=True),
                    v2.RandomHorizontalFlip(),
                    *([] if crop_only else [*distort, blur][: 2 + (side >= BLUR_FROM)]),
                    v2.ToImage(),
                    v2.ToDtype(torch.float32, scale=True),
                    v2.Normalize(*normalisation(ours.backbone)),
                ]
            )
        ] * group.count
    return lambda image: [transform(image) for transform in transforms]


class WithLabels(InMemory):
    """Images through a transform, with their labels."""

    def __init__(self, images: Sequence[Image.Image], labels: Sequence[int], transform: Any) -> None:
        super().__init__(images, transform)
        self.labels = labels

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(self.images[index]), int(self.labels[index])


def train(
    name: str,
    ours: Method,
    images: Sequence[Image.Image],
    labels: Sequence[int],
    *,
    size: int,
    epochs: int,
    batch_size: int,
    lr: float,
    workers: int,
    seed: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Trained:
    """AdamW at a constant rate and no decay, with the recipe's betas and bound of the gradient; timed by epoch."""
    torch.manual_seed(seed)
    model, recipe = MODELS[name](ours), recipe_of(ours)
    loader = full_batches(WithLabels(images, labels, crops(ours, size)), batch_size, workers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=recipe.betas, weight_decay=0)
    rates, steps = [], epochs * len(loader)
    for epoch in range(epochs):
        started = clock()
        for number, (views, classes) in enumerate(loader):
            loss = model.loss(views[:2], views[2:], classes, (epoch * len(loader) + number + 1) / steps)
            loss.backward()
            if recipe.clip:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()
            optimizer.zero_grad()
            model.after_step()
        rates.append(len(loader) * batch_size / (clock() - started))
    return Trained(getattr(model, "evaluated", model.backbone), rates)
