"""The network: ImageNet features, and a decoder that segments the object that a box or points show.

The encoder is that of EfficientNet-Lite0 up to stride 32. Box, points and prior enter as planes at stride 4 and again
at each level of the decoder; the prior enters once more at the end, where the network weighs it pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from streamseg.models.segmenters.nano import HINT_PLANES
from streamseg.train.encoder import (
    FIXED,
    LITE0,
    Convolution,
    Encoder,
    Separable,
    Stage,
    first_stages,
)


@dataclass(frozen=True, slots=True)
class Size:
    """What differs between the sizes of the network.

    Attributes:
        name: As `streamseg train` has it.
        side: Side of the pictures, in pixels; a multiple of 32.
        blocks: Of each stage of the encoder.
        widths: Channels of the decoder at strides 2, 4, 8, 16 and 32.
    """

    name: str
    side: int
    blocks: tuple[int, ...]
    widths: tuple[int, ...]


NANO: Final = Size("nano", 96, (1, 2, 2, 2, 1, 1), (16, 64, 96, 160, 160))
NANO_L: Final = Size("nano-l", 192, (1, 2, 2, 3, 3, 4), (32, 96, 128, 192, 192))
SIZES: Final = {size.name: size for size in (NANO, NANO_L)}

_LEVELS = (0, 1, 2, 4, 5)
"""Stages that feed the decoder: strides 2, 4, 8, 16 and 32."""
_KERNELS = (3, 3, 5, 5, 5)
_FIXED_HALVINGS = 1 + sum(stage.stride == 2 for stage in LITE0[:FIXED])
"""Halvings of the picture by the stem and the fixed stages."""


class _HintedEncoder(Encoder):
    """The encoder with the hints added before its first trained stage."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        super().__init__(stages)
        self.hints = nn.Conv2d(HINT_PLANES, stages[FIXED - 1].channels, 1, bias=False)

    def features(self, pictures: Tensor, hints: Tensor) -> list[Tensor]:
        """Features of each stage, from pictures and from hints in the resolution of the first trained stage."""
        x = self.stem(pictures)
        features = []
        for place, stage in enumerate(self.stages):
            if place == FIXED:
                x = x + self.hints(hints)
            x = stage(x)
            features.append(x)
        return features


class _Level(nn.Module):
    """Joins the coarser level with the encoder's features and the hints of this resolution."""

    def __init__(
        self, features: int, width: int, kernel: int, *, finest: bool, below: int | None, normalised: bool
    ) -> None:
        super().__init__()
        self.features = Convolution(features, width, normalised=normalised)
        # The finest level reads the hints at twice its resolution, which preserves the prior's outline.
        self.hints = nn.Conv2d(HINT_PLANES, width, 2 if finest else 1, 2 if finest else 1, bias=False)
        self.below = None if below is None else Convolution(below, width, normalised=normalised)
        self.mix = Separable(width, kernel, normalised=normalised)

    def forward(self, features: Tensor, hints: Tensor, below: Tensor | None) -> Tensor:
        x: Tensor = self.features(features) + self.hints(hints)
        if self.below is not None and below is not None:
            x = x + functional.interpolate(self.below(below), scale_factor=2.0, mode="nearest")
        joined: Tensor = self.mix(functional.relu(x))
        return joined


class NanoNetwork(nn.Module):
    """Predicts one mask for each window.

    Args:
        size: Of the network.
        normalised: Whether the decoder has batch normalisation, which training from ImageNet needs. It is folded at the
            end; training from a finished network has none.
    """

    def __init__(self, size: Size, *, normalised: bool = False) -> None:
        super().__init__()
        stages = first_stages(*size.blocks)
        self.encoder = _HintedEncoder(stages)
        self.size = size
        self.levels = nn.ModuleList()
        for place, (stage, width, below) in enumerate(zip(_LEVELS, size.widths, (*size.widths[1:], None), strict=True)):
            level = _Level(
                stages[stage].channels, width, _KERNELS[place], finest=place == 0, below=below, normalised=normalised
            )
            self.levels.append(level)
        self.draw = nn.Conv2d(size.widths[0], 4, 1)
        self.trust = nn.Conv2d(size.widths[0], 4, 1)
        for nothing_yet in (self.encoder.hints.weight, self.trust.weight, self.trust.bias):
            assert nothing_yet is not None
            nn.init.zeros_(nothing_yet)
        self.judge = nn.Linear(size.widths[0] + size.widths[-1] + 2, 1)

    def forward(self, pictures: Tensor, hints: Tensor) -> tuple[Tensor, Tensor]:
        """Predict masks and their IoU.

        Args:
            pictures: Shape (n, 3, side, side), float32, BGR, from -1 to 1.
            hints: Shape (n, HINT_PLANES, side, side), float32, 0 to 1.

        Returns:
            Logits of shape (n, side, side), above zero on the object, and logits of the predicted IoU, shape (n,).
        """
        scaled = _halvings(hints, len(_LEVELS))
        features = self.encoder.features(pictures, scaled[_FIXED_HALVINGS])
        # Each level reads the hints in its own resolution, the finest one in the picture's.
        of_level = [hints, *scaled[2:]]
        x: Tensor | None = None
        deepest: Tensor | None = None
        for place in reversed(range(len(_LEVELS))):
            x = self.levels[place](features[_LEVELS[place]], of_level[place], x)
            deepest = x if deepest is None else deepest
        assert x is not None and deepest is not None
        logits = functional.pixel_shuffle(self.draw(x) + self.trust(x) * _prior_planes(hints), 2)
        evidence = torch.cat((x.mean((2, 3)), deepest.mean((2, 3)), _certainty(logits)), 1)
        return logits[:, 0], self.judge(evidence)[:, 0]


def _halvings(planes: Tensor, number: int) -> list[Tensor]:
    """The planes in full, half, quarter resolution and so on."""
    halved = [planes]
    for _ in range(number):
        halved.append(functional.avg_pool2d(halved[-1], 2))
    return halved


def _prior_planes(hints: Tensor) -> Tensor:
    """The prior from -1 to 1, 0 without a prior, in the layout of `pixel_shuffle`: (n, 4, height / 2, width / 2)."""
    prior, there = hints[:, 1:2], hints[:, 2:3]
    # One channel for each of four pixels: `pixel_unshuffle`, which takes ONNX Runtime ten times as long.
    apart = torch.eye(4, device=hints.device).reshape(4, 1, 2, 2)
    return functional.conv2d((2 * prior - 1) * there, apart, stride=2)


def _certainty(logits: Tensor) -> Tensor:
    """Two hints of the mask's quality from its probabilities: the IoU if they were right, and its size."""
    probabilities = logits.detach().sigmoid()
    chosen = (logits.detach() > 0).float()
    both = (probabilities * chosen).sum((2, 3))
    either = torch.maximum(probabilities, chosen).sum((2, 3))
    return torch.cat((both / (either + 1.0), chosen.mean((2, 3))), 1)
