"""The SAM family in PyTorch: MobileSAM (TinyViT-5M) and the original SAM (ViT-B, -L, -H)."""

from __future__ import annotations

from streamseg.models.segmenters.sam.architectures import IMAGE_ENCODERS
from streamseg.models.segmenters.sam.checkpoint import load_network
from streamseg.models.segmenters.sam.embedding import ImageEmbedding
from streamseg.models.segmenters.sam.network import Prediction, SamNetwork
from streamseg.models.segmenters.sam.predictor import Sam
from streamseg.models.segmenters.sam.prompt_encoder import Prompts

__all__ = ["IMAGE_ENCODERS", "ImageEmbedding", "Prediction", "Prompts", "Sam", "SamNetwork", "load_network"]
