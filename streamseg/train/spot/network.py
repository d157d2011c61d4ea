"""The network: ImageNet features, a pyramid that mixes them, and one head for each of three strides.

The pyramid goes down and up again (Liu et al., "Path Aggregation Network", 2018) with depthwise convolutions, as in
NanoDet. A cell of the head predicts one box without anchors, its objectness and its classes, in YOLOX's format (Ge et
al., "YOLOX: exceeding YOLO series in 2021"), so that the same code reads both networks.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from streamseg.train.encoder import Convolution, Encoder, Separable, Trainable, first_stages

STRIDES: Final = (8, 16, 32)
BOX: Final = 4
"""Numbers of a box: the middle in cells from the cell's corner, and the logarithm of the sides in cells."""

_STAGES = first_stages(1, 2, 2, 2, 2, 2)
_LEVELS = (2, 4, 5)
"""Stages that feed the pyramid, one for each stride."""
_WIDTH = 96
_KERNEL = 5
_RARE = 0.01
"""Objectness and probability of a class at the start."""


class _Head(nn.Module):
    def __init__(self, classes: int, *, normalised: bool) -> None:
        super().__init__()
        self.shared = Separable(_WIDTH, _KERNEL, normalised=normalised)
        self.naming = Separable(_WIDTH, _KERNEL, normalised=normalised)
        self.placing = Separable(_WIDTH, _KERNEL, normalised=normalised)
        self.classes = nn.Conv2d(_WIDTH, classes, 1)
        self.box = nn.Conv2d(_WIDTH, BOX, 1)
        self.objectness = nn.Conv2d(_WIDTH, 1, 1)
        for rare in (self.classes, self.objectness):
            assert rare.bias is not None
            nn.init.constant_(rare.bias, math.log(_RARE / (1 - _RARE)))

    def forward(self, x: Tensor) -> Tensor:
        shared = self.shared(x)
        placed = self.placing(shared)
        return torch.cat((self.box(placed), self.objectness(placed), self.classes(self.naming(shared))), 1)


class SpotNetwork(Trainable):
    """Predicts boxes, objectness and classes at every cell.

    Args:
        classes: Their number.
        normalised: Whether pyramid and heads have batch normalisation, which is folded at the end of a training.
    """

    def __init__(self, classes: int, *, normalised: bool = False) -> None:
        super().__init__(Encoder(_STAGES))
        self.classes = classes
        self.enter = nn.ModuleList(
            Convolution(_STAGES[stage].channels, _WIDTH, normalised=normalised) for stage in _LEVELS
        )
        self.mix_down = nn.ModuleList(Separable(_WIDTH, _KERNEL, normalised=normalised) for _ in _LEVELS[1:])
        self.mix_up = nn.ModuleList(Separable(_WIDTH, _KERNEL, normalised=normalised) for _ in _LEVELS[1:])
        self.halve = nn.ModuleList(
            Convolution(_WIDTH, _WIDTH, _KERNEL, stride=2, groups=_WIDTH, normalised=normalised) for _ in _LEVELS[1:]
        )
        self.heads = nn.ModuleList(_Head(classes, normalised=normalised) for _ in _LEVELS)

    def forward(self, pictures: Tensor) -> Tensor:
        """Predict, for every cell, box, objectness and classes, the last two as logits.

        Args:
            pictures: Shape (n, 3, height, width), BGR, 0 to 255; height and width are multiples of 32.

        Returns:
            Shape (n, cells, 5 + classes): the cells of stride 8 row by row, then of 16, then of 32.
        """
        features = self.encoder((pictures - 127) / 128)
        levels = [enter(features[stage]) for enter, stage in zip(self.enter, _LEVELS, strict=True)]
        for place in reversed(range(len(levels) - 1)):
            coarser = functional.interpolate(levels[place + 1], scale_factor=2.0, mode="nearest")
            levels[place] = self.mix_down[place](levels[place] + coarser)
        for place in range(len(levels) - 1):
            levels[place + 1] = self.mix_up[place](levels[place + 1] + self.halve[place](levels[place]))
        rows = [
            head(level).reshape(pictures.shape[0], BOX + 1 + self.classes, -1)
            for head, level in zip(self.heads, levels, strict=True)
        ]
        return torch.cat(rows, 2).transpose(1, 2)


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
