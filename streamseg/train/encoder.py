"""The encoder of EfficientNet-Lite0, with its normalisations folded into its convolutions.

Source: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019; the Lite variants
are Google's, 2020.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from torch import Tensor, nn
from torch.nn import functional

PICTURE_CHANNELS: Final = 3
STEM_CHANNELS: Final = 32
FIXED: Final = 2
"""Stages that keep the ImageNet weights, as does the stem: later layers learn the same, sooner."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Inverted residual blocks (Sandler et al., "MobileNetV2", 2018), of which the first has the stride."""

    channels: int
    kernel: int
    stride: int
    expansion: int
    blocks: int


LITE0: Final = (
    Stage(16, 3, 1, 1, 1),
    Stage(24, 3, 2, 6, 2),
    Stage(40, 5, 2, 6, 2),
    Stage(80, 3, 2, 6, 3),
    Stage(112, 5, 1, 6, 3),
    Stage(192, 5, 2, 6, 4),
    Stage(320, 3, 1, 6, 1),
)
"""All stages of EfficientNet-Lite0."""


def first_stages(*blocks: int) -> tuple[Stage, ...]:
    """The first stages, each with so many of its blocks."""
    return tuple(replace(stage, blocks=number) for stage, number in zip(LITE0, blocks, strict=False))


class Convolution(nn.Module):
    """A convolution of stride 1 or 2, optionally with batch normalisation, optionally clipped to 0 to 6 (ReLU6)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        normalised: bool = False,
        clipped: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)
        self.norm: nn.Module = nn.BatchNorm2d(outputs) if normalised else nn.Identity()
        self._clipped = clipped

    def forward(self, x: Tensor) -> Tensor:
        """From (n, inputs, height, width) to (n, outputs, height / stride, width / stride)."""
        x = self.norm(self.conv(x))
        return functional.relu6(x) if self._clipped else x

    def fold(self) -> None:
        """Fold the normalisation into the convolution."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = nn.utils.fusion.fuse_conv_bn_eval(self.conv.eval(), self.norm.eval())
            self.norm = nn.Identity()


class Residual(nn.Module):
    """One inverted residual block."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = inputs * stage.expansion
        self.expand = Convolution(inputs, wide, clipped=True) if stage.expansion > 1 else nn.Identity()
        self.depthwise = Convolution(wide, wide, stage.kernel, stride=stride, groups=wide, clipped=True)
        self.project = Convolution(wide, stage.channels)
        self._skips = stride == 1 and inputs == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """From (n, inputs, height, width) to (n, channels, height / stride, width / stride)."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self._skips else y


class Encoder(nn.Module):
    """The stem and some stages, each with all or the first of its blocks."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        super().__init__()
        self.stem = Convolution(PICTURE_CHANNELS, STEM_CHANNELS, 3, stride=2, clipped=True)
        self.stages = nn.ModuleList()
        channels = STEM_CHANNELS
        for stage in stages:
            blocks = [Residual(channels, stage, stage.stride)]
            blocks += [Residual(stage.channels, stage, 1) for _ in range(stage.blocks - 1)]
            self.stages.append(nn.Sequential(*blocks))
            channels = stage.channels
        for fixed in (self.stem, *self.stages[:FIXED]):
            fixed.requires_grad_(False)


class Separable(nn.Module):
    """A depthwise and a pointwise convolution, rectified."""

    def __init__(self, width: int, kernel: int, *, normalised: bool) -> None:
        super().__init__()
        self.depthwise = Convolution(width, width, kernel, groups=width, normalised=normalised)
        self.pointwise = Convolution(width, width, normalised=normalised)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape (n, width, height, width of the picture)."""
        return functional.relu(self.pointwise(self.depthwise(x)))


def convolutions(network: nn.Module) -> Iterator[Convolution]:
    """All convolutions of a network that may have a normalisation."""
    return (module for module in network.modules() if isinstance(module, Convolution))
