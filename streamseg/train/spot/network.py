"""The network: YOLOX-Nano's, whose weights a training starts from.

Features of a CSPDarknet are mixed by a pyramid that goes down and up again (Liu et al., "Path Aggregation Network",
2018); one head for each of three strides predicts, at every cell, one box without anchors, its objectness and its
classes. Source: Ge et al., "YOLOX: exceeding YOLO series in 2021".

Modules are registered in the order in which they run: that of the convolutions in an export.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES: Final = (8, 16, 32)
BOX: Final = 4
"""Numbers of a box: the middle in cells from the cell's corner, and the logarithm of the sides in cells."""

_WIDTHS = (16, 32, 64, 128, 256)
"""Channels of the features at strides 2, 4, 8, 16 and 32."""
_BLOCKS = (1, 3, 3, 1)
"""Residual blocks at strides 4, 8, 16 and 32."""
_HEAD_WIDTH = 64
_POOLED = (5, 9, 13)
"""Sides of the windows whose maxima join the coarsest features."""
_RARE = 0.01
"""Objectness and probability of a new class at the start."""


class _Conv(nn.Module):
    """A convolution and SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return functional.silu(self.conv(x))


def _separable(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    """A depthwise 3x3 and a pointwise convolution."""
    return nn.Sequential(_Conv(inputs, inputs, 3, stride=stride, groups=inputs), _Conv(inputs, outputs))


class _Residual(nn.Module):
    def __init__(self, width: int, *, skips: bool) -> None:
        super().__init__()
        self.reduce = _Conv(width, width)
        self.mix = _separable(width, width)
        self._skips = skips

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mix(self.reduce(x))
        return x + y if self._skips else y


class _PartialStage(nn.Module):
    """Residual blocks on one half of the channels (Wang et al., "CSPNet", 2020)."""

    def __init__(self, inputs: int, outputs: int, blocks: int, *, skips: bool) -> None:
        super().__init__()
        half = outputs // 2
        self.worked = _Conv(inputs, half)
        self.kept = _Conv(inputs, half)
        self.blocks = nn.Sequential(*(_Residual(half, skips=skips) for _ in range(blocks)))
        self.join = _Conv(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        worked, kept = self.worked(x), self.kept(x)
        joined: Tensor = self.join(torch.cat((self.blocks(worked), kept), 1))
        return joined


class _Pooled(nn.Module):
    """Joins features with their maxima over larger windows."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce = _Conv(width, width // 2)
        self.join = _Conv(width // 2 * (1 + len(_POOLED)), width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        pooled = (functional.max_pool2d(x, side, 1, side // 2) for side in _POOLED)
        joined: Tensor = self.join(torch.cat((x, *pooled), 1))
        return joined


class _Features(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = _Conv(3, _WIDTHS[0], 6, stride=2)
        self.stages = nn.ModuleList()
        for inputs, width, blocks in zip(_WIDTHS, _WIDTHS[1:], _BLOCKS, strict=False):
            last = width == _WIDTHS[-1]
            pooled = [_Pooled(width)] if last else []
            stage = _PartialStage(width, width, blocks, skips=not last)
            self.stages.append(nn.Sequential(_separable(inputs, width, stride=2), *pooled, stage))

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Features of strides 8, 16 and 32."""
        x = self.stem(pictures)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features[1:]


class _Pyramid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = _WIDTHS[2:]
        self.narrow_coarse = _Conv(coarse, middle)
        self.down_middle = _PartialStage(2 * middle, middle, 1, skips=False)
        self.narrow_middle = _Conv(middle, fine)
        self.down_fine = _PartialStage(2 * fine, fine, 1, skips=False)
        self.halve_fine = _separable(fine, fine, stride=2)
        self.up_middle = _PartialStage(2 * fine, middle, 1, skips=False)
        self.halve_middle = _separable(middle, middle, stride=2)
        self.up_coarse = _PartialStage(2 * middle, coarse, 1, skips=False)

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        fine, middle, coarse = features
        coarse = self.narrow_coarse(coarse)
        middle = self.narrow_middle(self.down_middle(torch.cat((_twice_as_large(coarse), middle), 1)))
        fine = self.down_fine(torch.cat((_twice_as_large(middle), fine), 1))
        up_middle = self.up_middle(torch.cat((self.halve_fine(fine), middle), 1))
        return fine, up_middle, self.up_coarse(torch.cat((self.halve_middle(up_middle), coarse), 1))


class _Head(nn.Module):
    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.enter = _Conv(inputs, _HEAD_WIDTH)
        self.naming = nn.Sequential(*(_separable(_HEAD_WIDTH, _HEAD_WIDTH) for _ in range(2)))
        self.classes = nn.Conv2d(_HEAD_WIDTH, classes, 1)
        self.placing = nn.Sequential(*(_separable(_HEAD_WIDTH, _HEAD_WIDTH) for _ in range(2)))
        self.box = nn.Conv2d(_HEAD_WIDTH, BOX, 1)
        self.objectness = nn.Conv2d(_HEAD_WIDTH, 1, 1)
        for rare in (self.classes, self.objectness):
            assert rare.bias is not None
            nn.init.constant_(rare.bias, math.log(_RARE / (1 - _RARE)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        classes = self.classes(self.naming(x))
        placed = self.placing(x)
        return torch.cat((self.box(placed), self.objectness(placed), classes), 1)


class SpotNetwork(nn.Module):
    """Predicts boxes, objectness and classes at every cell.

    Args:
        classes: Their number.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.features = _Features()
        self.pyramid = _Pyramid()
        self.heads = nn.ModuleList(_Head(width, classes) for width in _WIDTHS[2:])

    def forward(self, pictures: Tensor) -> Tensor:
        """Predict, for every cell, box, objectness and classes, the last two as logits.

        Args:
            pictures: Shape (n, 3, height, width), BGR, 0 to 255; height and width are multiples of 32.

        Returns:
            Shape (n, cells, 5 + classes): the cells of stride 8 row by row, then of 16, then of 32.
        """
        levels = self.pyramid(self.features(pictures))
        rows = [
            head(level).reshape(pictures.shape[0], BOX + 1 + self.classes, -1)
            for head, level in zip(self.heads, levels, strict=True)
        ]
        return torch.cat(rows, 2).transpose(1, 2)

    @torch.no_grad()
    def scale_objectness(self, scale: Tensor, shift: Tensor) -> None:
        """Make the logits of the objectness `scale` times as large, and `shift` larger."""
        for head in self.heads:
            assert isinstance(head, _Head) and head.objectness.bias is not None
            head.objectness.weight.mul_(scale)
            head.objectness.bias.mul_(scale).add_(shift)


def _twice_as_large(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def grid_cells(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Column, row and stride of the cell of each row of outputs: shape (cells, 3)."""
    grids = []
    for stride in STRIDES:
        rows, columns = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        flat = (columns.reshape(-1), rows.reshape(-1), torch.full((rows.numel(),), stride))
        grids.append(torch.stack(flat, 1))
    return torch.cat(grids).float().to(device)


def decode(rows: Tensor, cells: Tensor) -> Tensor:
    """Boxes x1, y1, x2, y2 in pixels, shape (n, cells, 4), from outputs of shape (n, cells, 4 or more)."""
    strides = cells[:, 2:]
    centres = (rows[..., :2] + cells[:, :2]) * strides
    halves = rows[..., 2:4].clamp(max=6).exp() * strides / 2
    return torch.cat((centres - halves, centres + halves), -1)
