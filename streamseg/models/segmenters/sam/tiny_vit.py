"""MobileSAM's image encoder: TinyViT-5M (arXiv:2207.10666) with SAM's neck, as in arXiv:2306.14289."""

from __future__ import annotations

from typing import Any

from timm.models.tiny_vit import tiny_vit_5m_224
from torch import Tensor

from streamseg.models.segmenters.sam.image_encoder import ImageEncoder

_TRUNK_CHANNELS = 320


class TinyVitEncoder(ImageEncoder):
    """TinyViT-5M without its classifier, and with stride 1 before its last stage."""

    def __init__(self) -> None:
        super().__init__(_TRUNK_CHANNELS)
        # Not through timm's registry: the original's code, if imported too, registers its own class under that name.
        trunk: Any = tiny_vit_5m_224(pretrained=False)
        # SAM's decoder needs one feature per 16 pixels; the classifier's last stage makes one per 32.
        trunk.stages[-1].downsample.conv2.conv.stride = (1, 1)
        self.patch_embed = trunk.patch_embed
        self.stages = trunk.stages

    def trunk(self, pixels: Tensor) -> Tensor:
        """Return features before the neck, shape (batch, 320, 64, 64)."""
        features: Tensor = self.stages(self.patch_embed(pixels))
        return features
