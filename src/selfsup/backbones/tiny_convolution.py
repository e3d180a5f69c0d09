"""Convolutions of images that have shrunk to a few pixels, computed as one matrix product.

Views of 32 pixels leave a ResNet's last two stages with 2 x 2 and 1 x 1 pixels. There a 3 x 3 kernel
multiplies mostly padding, and the library's convolutions, made for large images, are slow: on a CPU
these two stages took more than half of a training step. benchmarks/cell.py measures the whole step.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Most pixels that a convolution is computed for as one matrix product.
MOST_PIXELS = 4


def quicken_tiny_convolutions(network: nn.Module) -> None:
    """Turn every plain ``nn.Conv2d`` of `network` into a :class:`TinyConv2d`; names and values stay."""
    for module in network.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = TinyConv2d


class TinyConv2d(nn.Conv2d):
    """``nn.Conv2d``, the same up to rounding, faster on the CPU for images of at most 2 x 2 pixels."""

    def forward(self, images: Tensor) -> Tensor:
        if images.device.type != "cpu" or self.groups > 1 or self.dilation != (1, 1):
            return super().forward(images)
        if self.padding_mode != "zeros" or isinstance(self.padding, str):
            return super().forward(images)
        rows, height = self._extent(0, images.shape[-2])
        columns, width = self._extent(1, images.shape[-1])
        if not 0 < height * width <= min(MOST_PIXELS, self.kernel_size[0] * self.kernel_size[1]):
            return super().forward(images)
        pixels = images[:, :, :height, :width].permute(0, 2, 3, 1).flatten(1)
        bias = None if self.bias is None else self.bias.repeat(rows * columns)
        result = F.linear(pixels, self._matrix(rows, columns, height, width, images.dtype), bias)
        return result.view(len(images), rows, columns, self.out_channels).permute(0, 3, 1, 2)

    def _extent(self, axis: int, size: int) -> tuple[int, int]:
        """Pixels of the result along an axis, and how many of the image's the kernel comes to see."""
        kernel, stride, padding = self.kernel_size[axis], self.stride[axis], int(self.padding[axis])
        results = (size + 2 * padding - kernel) // stride + 1
        return results, min(size, stride * (results - 1) + kernel - padding) if results > 0 else 0

    def _matrix(self, rows: int, columns: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
        """Weight of each pixel seen in each pixel of the result, both channels-last and flattened."""
        down, along = self.stride
        edges: list[int] = []  # for `pad`, last axis first; a negative edge cuts taps off that see only padding
        for axis, results, size in ((1, columns, width), (0, rows, height)):
            first = int(self.padding[axis]) - self.stride[axis] * (results - 1)
            edges += [-first, int(self.padding[axis]) + size - self.kernel_size[axis]]
        taps = F.pad(self.weight, edges).to(dtype).permute(0, 2, 3, 1)
        windows = [
            taps[:, down * row : down * row + height, along * column : along * column + width].flatten(1)
            for row in reversed(range(rows))
            for column in reversed(range(columns))
        ]
        return torch.cat(windows)
