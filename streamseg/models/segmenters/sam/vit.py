"""The original SAM's image encoder: a plain ViT with windowed attention (arXiv:2203.16527), as in arXiv:2304.02643."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from streamseg.models.segmenters.sam.image_encoder import ImageEncoder


class VitEncoder(ImageEncoder):
    """A ViT of timm with SAM's neck; ten to a hundred times the work of TinyViT."""

    def __init__(self, make_trunk: Callable[..., nn.Module]) -> None:
        """Build the encoder around the ViT that `make_trunk` makes: one of timm's `samvit_*`."""
        # SAM was trained with this epsilon, not timm's default.
        trunk: Any = make_trunk(pretrained=False, norm_layer=partial(nn.LayerNorm, eps=1e-6))
        super().__init__(trunk.embed_dim)
        self.patch_embed = trunk.patch_embed
        self.pos_embed: nn.Parameter = trunk.pos_embed
        self.blocks = trunk.blocks

    def trunk(self, pixels: Tensor) -> Tensor:
        """Return features before the neck, shape (batch, channels, 64, 64)."""
        features: Tensor = self.blocks(self.patch_embed(pixels) + self.pos_embed)
        return features.permute(0, 3, 1, 2)
