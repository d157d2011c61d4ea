"""MobileSAM's image encoder: TinyViT-5M (arXiv:2207.10666) with SAM's neck, as in arXiv:2306.14289."""

from __future__ import annotations

from typing import Any

from timm.models.tiny_vit import tiny_vit_5m_224
from torch import Tensor

from streamseg.models.segmenters.sam.image_encoder import ImageEncoder

_TRUNK_CHANNELS = 320


class TinyVitEncoder(ImageEncoder):
    """Reads a picture in the time that MobileSAM is named for."""

    def __init__(self) -> None:
        super().__init__(_TRUNK_CHANNELS)
        # Not by name: the original's code, where it is imported too, gives that name in timm to a class of its own.
        trunk: Any = tiny_vit_5m_224(pretrained=False)
        # SAM's decoder wants one feature per 16 pixels, where the classifier's last stage would make one per 32.
        trunk.stages[-1].downsample.conv2.conv.stride = (1, 1)
        self.patch_embed = trunk.patch_embed
        self.stages = trunk.stages

    def trunk(self, pixels: Tensor) -> Tensor:
        """The picture's features before the neck, shape (batch, 320, 64, 64)."""
        features: Tensor = self.stages(self.patch_embed(pixels))
        return features
