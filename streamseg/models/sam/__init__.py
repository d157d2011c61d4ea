"""The SAM family: MobileSAM (TinyViT-5M) and the original SAM (ViT-B, -L, -H), with SAM's prompt encoder and mask decoder."""

from __future__ import annotations

from streamseg.models.sam.architectures import IMAGE_ENCODERS
from streamseg.models.sam.checkpoint import load_network
from streamseg.models.sam.embedding import ImageEmbedding
from streamseg.models.sam.network import Prediction, SamNetwork
from streamseg.models.sam.predictor import Sam
from streamseg.models.sam.prompt_encoder import Prompts

__all__ = ["IMAGE_ENCODERS", "ImageEmbedding", "Prediction", "Prompts", "Sam", "SamNetwork", "load_network"]
