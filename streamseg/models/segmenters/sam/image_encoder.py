"""Common base of SAM's image encoders: the sizes, and the neck."""

from __future__ import annotations

from abc import ABC, abstractmethod

from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

INPUT_SIZE = 1024
"""Side of the square input in pixels."""
FEATURE_SIZE = 64
"""Side of the square feature map."""
FEATURE_CHANNELS = 256


class ImageEncoder(nn.Module, ABC):
    """Encodes a picture to features, from which any number of prompts is decoded."""

    img_size = INPUT_SIZE

    def __init__(self, trunk_channels: int) -> None:
        super().__init__()
        self.neck = nn.Sequential(
            nn.Conv2d(trunk_channels, FEATURE_CHANNELS, kernel_size=1, bias=False),
            LayerNorm2d(FEATURE_CHANNELS),
            nn.Conv2d(FEATURE_CHANNELS, FEATURE_CHANNELS, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(FEATURE_CHANNELS),
        )

    @abstractmethod
    def trunk(self, pixels: Tensor) -> Tensor:
        """Return features before the neck, shape (batch, trunk channels, 64, 64)."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode normalised RGB pictures of shape (batch, 3, 1024, 1024) to features of shape (batch, 256, 64, 64)."""
        features: Tensor = self.neck(self.trunk(pixels))
        return features
