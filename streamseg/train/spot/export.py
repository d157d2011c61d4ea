"""Writes the network of spot as an ONNX file in YOLOX's format, and reads it back."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import onnx
import torch
from torch import Tensor

from streamseg.errors import CheckpointError
from streamseg.models.detectors.yolox_graph import CLASSES_KEY
from streamseg.train.checkpoint import write_file
from streamseg.train.onnx_file import Exportable, export, read_weights
from streamseg.train.spot.network import BOX, SpotNetwork

INPUT_SIDE: Final = 320
"""Longer side of the input by default; `detector.imgsz` sets another multiple of 32."""


class _Probabilities(Exportable):
    """The network with objectness and classes from 0 to 1."""

    def forward(self, pictures: Tensor) -> Tensor:
        rows: Tensor = self.network(pictures)
        return torch.cat((rows[..., :BOX], rows[..., BOX:].sigmoid()), -1)


def write_network(network: SpotNetwork, classes: tuple[str, ...], path: Path) -> None:
    """Write a network with folded normalisations, and the names of its classes, atomically.

    Raises:
        UsageError: It cannot be written.
    """
    sample = torch.zeros(1, 3, INPUT_SIDE, INPUT_SIDE)
    model = export(_Probabilities(network.cpu().float()), (sample,), ("images",), ("output",), None)
    onnx.helper.set_model_props(model, {CLASSES_KEY: "\n".join(classes)})
    write_file(path, model.SerializeToString(deterministic=True))


def read_network(content: bytes, classes: int, named: str) -> SpotNetwork:
    """Read the network of such a file, without normalisations, for further training.

    Raises:
        CheckpointError: The file has another network, or another number of classes.
    """
    network = SpotNetwork(classes)
    try:
        network.load_state_dict(read_weights(content, network.state_dict()))
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{named} is not a network of spot with {classes} classes; expected a file of `streamseg train spot`"
        ) from error
    return network
