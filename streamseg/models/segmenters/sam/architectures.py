"""The networks of the SAM family; they differ only in their image encoder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Final

from timm.models.vision_transformer_sam import samvit_base_patch16, samvit_huge_patch16, samvit_large_patch16

from streamseg.models.options import MOBILE_SAM
from streamseg.models.segmenters.sam.image_encoder import ImageEncoder
from streamseg.models.segmenters.sam.tiny_vit import TinyVitEncoder
from streamseg.models.segmenters.sam.vit import VitEncoder

IMAGE_ENCODERS: Final = MappingProxyType[str, Callable[[], ImageEncoder]](
    {
        MOBILE_SAM: TinyVitEncoder,
        "sam-vit-b": partial(VitEncoder, samvit_base_patch16),
        "sam-vit-l": partial(VitEncoder, samvit_large_patch16),
        "sam-vit-h": partial(VitEncoder, samvit_huge_patch16),
    }
)
"""Makes the image encoder of each architecture, by its name in `segmenter.model`."""
