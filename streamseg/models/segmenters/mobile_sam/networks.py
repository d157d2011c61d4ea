"""MobileSAM's networks in PyTorch, each with fixed shapes; the other runtimes read their exports."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from streamseg.models.options import MOBILE_SAM
from streamseg.models.segmenters.mobile_sam.decoder import BoxDecoder, FrameTerms
from streamseg.models.segmenters.mobile_sam.encoder import FrameEncoder
from streamseg.models.segmenters.mobile_sam.export import Part
from streamseg.models.segmenters.sam import SamNetwork, load_network
from streamseg.models.segmenters.sam.image_encoder import FEATURE_CHANNELS


def load_weights(weights: Path) -> SamNetwork:
    """Load MobileSAM's weights.

    Raises:
        CheckpointError: The file is not a checkpoint of MobileSAM.
    """
    return load_network(weights, MOBILE_SAM)


def build(network: SamNetwork, part: Part) -> nn.Module:
    """Build one of the networks on the CPU in float32; it shares no weights."""
    grid = part.grid
    if part.name == "encoder":
        return FrameEncoder(network, grid)
    if part.name == "terms":
        return FrameTerms(network, grid.side).eval().requires_grad_(False)
    return BoxDecoder(network, grid.side, grid.drawn_rows, grid.drawn_columns).eval().requires_grad_(False)


def sample_inputs(network: SamNetwork, part: Part) -> tuple[Tensor, ...]:
    """Make inputs of a part's shapes, to trace it with."""
    grid = part.grid
    if part.name == "encoder":
        return (torch.zeros(1, 3, grid.height, grid.width),)
    features = torch.zeros(1, grid.side * grid.side, FEATURE_CHANNELS)
    if part.name == "terms":
        return (features,)
    boxes = torch.tensor([[64.0, 64.0, 256.0, 256.0]]).expand(int(part.name.removeprefix("decoder-")), -1)
    return (boxes, *build(network, Part("terms", grid))(features))
