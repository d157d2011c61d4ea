"""MobileSAM's image encoder: TinyViT-5M (arXiv:2207.10666) with SAM's neck, as in arXiv:2306.14289."""

from __future__ import annotations

from typing import Any

import timm
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

INPUT_SIZE = 1024
"""Side of the square input in pixels."""
FEATURE_SIZE = 64
"""Side of the square feature map."""
FEATURE_CHANNELS = 256

_TRUNK_CHANNELS = 320


class ImageEncoder(nn.Module):
    """Reads one picture into the features from which any number of prompts is answered."""

    def __init__(self) -> None:
        super().__init__()
        trunk: Any = timm.create_model("tiny_vit_5m_224", pretrained=False)
        # SAM's decoder wants one feature per 16 pixels, where the classifier's last stage would make one per 32.
        trunk.stages[-1].downsample.conv2.conv.stride = (1, 1)
        self.patch_embed = trunk.patch_embed
        self.stages = trunk.stages
        self.neck = nn.Sequential(
            nn.Conv2d(_TRUNK_CHANNELS, FEATURE_CHANNELS, kernel_size=1, bias=False),
            LayerNorm2d(FEATURE_CHANNELS),
            nn.Conv2d(FEATURE_CHANNELS, FEATURE_CHANNELS, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(FEATURE_CHANNELS),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode normalised RGB pictures of shape (batch, 3, 1024, 1024) to features of shape (batch, 256, 64, 64)."""
        features: Tensor = self.neck(self.stages(self.patch_embed(pixels)))
        return features
