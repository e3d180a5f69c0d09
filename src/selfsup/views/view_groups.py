"""What a method asks for: groups of views of every image, and the patches that are hidden in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

#: Sides of views are multiples of this many pixels where the network has no patches of its own.
SIDE_STEP = 8


class Mask(Protocol):
    """Draws which patches of a view are hidden, as a policy draws what a view shows."""

    def draw(self, count: int, side: int, generator: torch.Generator) -> Tensor:
        """Hidden patches of `count` views of `side` pixels.

        Returns
        -------
        Tensor
            Bool of shape (count, patches), row by row of the image; true where a patch is hidden. Every
            row hides the same number.
        """


@dataclass(frozen=True)
class RandomMask:
    """Patches hidden evenly at random (He et al. 2022, section 3, masking).

    Attributes
    ----------
    ratio : float
        Share of the patches that is hidden, in (0, 1); of several, at least one is hidden, and one stays.
    patch : int
        Side of a patch in pixels.
    """

    ratio: float
    patch: int

    def draw(self, count: int, side: int, generator: torch.Generator) -> Tensor:
        patches = (side // self.patch) ** 2
        return torch.rand(count, patches, generator=generator).argsort(1).argsort(1) < self.hidden(patches)

    def hidden(self, patches: int) -> int:
        """How many of so many patches are hidden."""
        return min(max(1, round(self.ratio * patches)), patches - 1)


@dataclass(frozen=True)
class ViewGroup:
    """Views of every image that a method asks for together.

    Attributes
    ----------
    name : str
        Under which the method finds them in its batch, for example ``"global"``.
    count : int
        Views of each image, at least 1.
    side : float
        Side of a view as a share of the study's image size, in (0, 1].
    scale : (float, float) or None
        Area of the crop as shares of the image's; None for the policy's own.
    policy : str or None
        Name of a policy; None for the cell's augmentation.
    mask : Mask or None
        Draws hidden patches for each view.
    """

    name: str
    count: int = 1
    side: float = 1.0
    scale: tuple[float, float] | None = None
    policy: str | None = None
    mask: Mask | None = None

    def pixels(self, image_size: int, step: int = SIDE_STEP) -> int:
        """Side of a view in pixels: the nearest multiple of `step`, at least one; of a whole side, itself."""
        return image_size if self.side == 1 else max(1, round(self.side * image_size / step)) * step
