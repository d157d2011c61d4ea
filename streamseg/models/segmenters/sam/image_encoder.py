"""What SAM's image encoders have in common: the size of what they read, and the neck that makes their features alike."""

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
    """Reads one picture into the features from which any number of prompts is answered."""

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
        """The features before the neck: shape (batch, trunk channels, 64, 64)."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode normalised RGB pictures of shape (batch, 3, 1024, 1024) to features of shape (batch, 256, 64, 64)."""
        features: Tensor = self.neck(self.trunk(pixels))
        return features
