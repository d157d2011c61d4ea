"""Writes the network of nano as an ONNX file, and reads it back."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import Tensor

from streamseg.errors import CheckpointError
from streamseg.models.segmenters.nano import HINT_PLANES
from streamseg.models.segmenters.nano.network_file import (
    FORMAT,
    FORMAT_KEY,
    HINTS,
    LOGITS,
    PICTURES,
    QUALITY,
    TRAINED_ON_KEY,
)
from streamseg.models.trained_on import TrainedOn
from streamseg.train.checkpoint import write_file
from streamseg.train.encoder import PICTURE_CHANNELS
from streamseg.train.network import NanoNetwork, Size
from streamseg.train.onnx_file import Exportable, export, read_weights


class _Probability(Exportable):
    """The network with its predicted IoU from 0 to 1."""

    def forward(self, pictures: Tensor, hints: Tensor) -> tuple[Tensor, Tensor]:
        logits, quality = self.network(pictures, hints)
        return logits, quality.sigmoid()


def write_network(network: NanoNetwork, trained_on: TrainedOn, path: Path) -> None:
    """Write a network with folded normalisations atomically.

    Raises:
        UsageError: It cannot be written.
    """
    side = network.size.side
    sample = torch.zeros(2, PICTURE_CHANNELS, side, side), torch.zeros(2, HINT_PLANES, side, side)
    module = _Probability(network.cpu().float())
    model = export(module, sample, (PICTURES, HINTS), (LOGITS, QUALITY), "boxes")
    onnx.helper.set_model_props(model, {FORMAT_KEY: FORMAT, TRAINED_ON_KEY: trained_on.encode()})
    write_file(path, model.SerializeToString(deterministic=True))


def read_network(content: bytes, size: Size, named: str) -> NanoNetwork:
    """Read the network of such a file, without normalisations, for further training.

    Raises:
        CheckpointError: The file has another network, or one of another size.
    """
    network = NanoNetwork(size)
    try:
        network.load_state_dict(read_weights(content, network.state_dict()))
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{named} is not a network of {size.name}; expected a file that `streamseg train {size.name}` wrote"
        ) from error
    return network
