"""MobileSAM: TinyViT-5M encoder, SAM's prompt encoder and mask decoder."""

from __future__ import annotations

from streamseg.models.mobile_sam.checkpoint import load_network
from streamseg.models.mobile_sam.network import MobileSamNetwork, Prediction
from streamseg.models.mobile_sam.predictor import ImageEmbedding, MobileSam
from streamseg.models.mobile_sam.prompt_encoder import Prompts

__all__ = ["ImageEmbedding", "MobileSam", "MobileSamNetwork", "Prediction", "Prompts", "load_network"]
