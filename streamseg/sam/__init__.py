"""SAM and MobileSAM under the names of the original code: change the import, keep the rest."""

from __future__ import annotations

from streamseg.sam.automatic import SamAutomaticMaskGenerator
from streamseg.sam.model import (
    SamModel,
    build_sam,
    build_sam_vit_b,
    build_sam_vit_h,
    build_sam_vit_l,
    build_sam_vit_t,
    sam_model_registry,
)
from streamseg.sam.predictor import SamPredictor
from streamseg.sam.transforms import ResizeLongestSide

__all__ = [
    "ResizeLongestSide",
    "SamAutomaticMaskGenerator",
    "SamModel",
    "SamPredictor",
    "build_sam",
    "build_sam_vit_b",
    "build_sam_vit_h",
    "build_sam_vit_l",
    "build_sam_vit_t",
    "sam_model_registry",
]
