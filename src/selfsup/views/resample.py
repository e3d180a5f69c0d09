"""Crop, flip and resize in one step: separable, antialiased bilinear, as PIL and torch do it.

Two implementations of the same filter. Small images, and all images on an accelerator: every
axis of every image gets its matrix of weights, and a view is rows @ image @ columns, batched.
Large images on the CPU: torch's vectorised 8-bit kernel, image by image, because a matrix product
also multiplies all the zeros outside the filter's support. The 8-bit kernel rounds after each
axis, so the two agree to 1/255. Which of them it is, an image's own size decides: the view of an image
does not depend on those beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsup.views.base import PerImage

# On the CPU the two take the same time at about this many weights per axis (side of image x side of
# view); measured on one AVX-512 core.
MATRIX_LIMIT = 48 * 48


@dataclass(frozen=True)
class Crop(PerImage):
    """Where a view comes from. All int64 but `flip`.

    Attributes
    ----------
    size : Tensor
        (height, width) of the image, shape (n, 2).
    box : Tensor
        (top, left, height, width) of the region in the image, shape (n, 4). The filter sees
        nothing outside it.
    resized : Tensor
        (height, width) that the region is resized to, shape (n, 2).
    offset : Tensor
        (top, left) of the view in the resized region, shape (n, 2).
    flip : Tensor
        Whether the view is mirrored left to right, bool of shape (n,).
    """

    size: Tensor
    box: Tensor
    resized: Tensor
    offset: Tensor
    flip: Tensor


def crop_to_view(size: Tensor, box: Tensor, flip: Tensor, out_size: int) -> Crop:
    """The whole of each box, resized to the view whatever its aspect ratio."""
    corner = torch.zeros_like(box[:, :2])
    return Crop(size, box, corner + out_size, corner, flip)


def resample(images: Tensor, crop: Crop, out_size: int) -> Tensor:
    """Crop, resize and flip.

    Parameters
    ----------
    images : Tensor
        Shape (n, channels, height, width), uint8.
    crop : Crop
        On the CPU.
    out_size : int

    Returns
    -------
    Tensor
        Shape (n, channels, out_size, out_size), float32 in [0, 1], contiguous.
    """
    small = [max(size) * out_size <= MATRIX_LIMIT for size in crop.size.tolist()]
    if images.device.type != "cpu" or all(small):
        return _resample_batch(images, crop, out_size)
    if not any(small):
        return _resample_each(images, crop, out_size)
    views = torch.empty(len(images), images.shape[1], out_size, out_size)
    chosen = torch.tensor(small)
    for some, compute in ((chosen, _resample_batch), (~chosen, _resample_each)):
        views[some] = compute(images[some], crop[some], out_size)
    return views


def _resample_batch(images: Tensor, crop: Crop, out_size: int) -> Tensor:
    n, channels = images.shape[:2]
    # On the CPU those of one size that stand side by side are multiplied together: the order in which a product is
    # summed depends on its size, and with that the last digit of a pixel.
    sizes = crop.size.tolist() if images.device.type == "cpu" else [crop.size.amax(0).tolist()] * n
    side = int(crop.size.max())
    rows, columns = _weights(crop.to(images.device), side, out_size).unbind(1)
    pixels = images[:, :, :side, :side].permute(0, 2, 3, 1).float()
    found, end = list[Tensor](), 0
    for (height, width), run in groupby(sizes):
        some = slice(end, end := end + len(list(run)))
        bands = rows[some, :height].mT @ pixels[some, :height, :width].flatten(2)
        bands = bands.unflatten(2, (width, channels)).permute(0, 3, 1, 2).flatten(1, 2)
        found.append(bands @ columns[some, :width])
    views = torch.cat(found) if len(found) > 1 else found[0]
    return views.view(n, channels, out_size, out_size).mul_(1 / 255).clamp_(max=1)


def _weights(crop: Crop, size: int, out_size: int) -> Tensor:
    """Weight of each source pixel in each pixel of the view, shape (n, 2 axes, size, out_size)."""
    start, length = crop.box.float().view(-1, 2, 2, 1, 1).unbind(1)
    step = length / crop.resized[:, :, None, None]
    # The filter is a triangle of half-width 1 source pixel when enlarging, 1 target pixel when
    # shrinking; distances are in half-widths, and a source pixel outside the box is far away.
    half_width = step.clamp(min=1)
    mirrored = torch.stack([torch.zeros_like(crop.flip), crop.flip], 1)[:, :, None, None]
    target = torch.arange(out_size, device=step.device) + 0.5
    target = torch.where(mirrored, out_size - target, target) + crop.offset[:, :, None, None]
    source = torch.arange(size, device=step.device)[:, None] + 0.5 - start
    source = torch.where((source > 0) & (source < length), source / half_width, torch.inf)
    weights = torch.rsub((target * (step / half_width) - source).abs_(), 1).clamp_(min=0)
    return weights.div_(weights.sum(2, keepdim=True))


def _resample_each(images: Tensor, crop: Crop, out_size: int) -> Tensor:
    views = torch.empty(len(images), images.shape[1], out_size, out_size)
    for view, image, box, resized, offset, flip in zip(
        views,
        images,
        crop.box.tolist(),
        crop.resized.tolist(),
        crop.offset.tolist(),
        crop.flip.tolist(),
        strict=True,
    ):
        top, left, height, width = box
        region = image[None, :, top : top + height, left : left + width]
        region = F.interpolate(region, size=resized, mode="bilinear", antialias=True)
        top, left = offset
        region = region[:, :, top : top + out_size, left : left + out_size]
        view.copy_((region.flip(3) if flip else region)[0])
    return views.mul_(1 / 255)
