"""Writes the network of spot as an ONNX file in YOLOX's format, and reads such a file or one of YOLOX-Nano."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from streamseg.categories import COCO_CLASSES
from streamseg.errors import CheckpointError
from streamseg.models.detectors.spot import TRAINED_ON_KEY
from streamseg.models.detectors.yolox_graph import CLASSES_KEY, YoloxGraph, read_yolox_graph
from streamseg.models.trained_on import TrainedOn
from streamseg.train.checkpoint import write_file
from streamseg.train.onnx_file import Exportable, export
from streamseg.train.spot.network import BOX, SpotNetwork

INPUT_SIDE: Final = 416
"""Longer side of the input by default; `detector.imgsz` sets another multiple of 32."""


class _Probabilities(Exportable):
    """The network with objectness and classes from 0 to 1."""

    def forward(self, pictures: Tensor) -> Tensor:
        rows: Tensor = self.network(pictures)
        return torch.cat((rows[..., :BOX], rows[..., BOX:].sigmoid()), -1)


def write_network(network: SpotNetwork, classes: tuple[str, ...], trained_on: TrainedOn, path: Path) -> None:
    """Write a network, the names of its classes and the fingerprints of its photographs, atomically.

    Raises:
        UsageError: It cannot be written.
    """
    sample = torch.zeros(1, 3, INPUT_SIDE, INPUT_SIDE)
    model = export(_Probabilities(network.cpu().float()), (sample,), ("images",), ("output",), None)
    onnx.helper.set_model_props(model, {CLASSES_KEY: "\n".join(classes), TRAINED_ON_KEY: trained_on.encode()})
    write_file(path, model.SerializeToString(deterministic=True))


def read_network(path: Path, classes: tuple[str, ...]) -> SpotNetwork:
    """Read a network to train it further on these classes; those that the file does not know start from scratch.

    Raises:
        CheckpointError: The file is neither of `streamseg train spot` nor an export of YOLOX-Nano.
    """
    graph = read_yolox_graph(path)
    known = graph.classes or COCO_CLASSES
    network = SpotNetwork(len(classes))
    convolutions = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)}
    stored = _layers(graph)
    try:
        for (name, layer), (kernel, bias) in zip(convolutions.items(), stored, strict=True):
            if name.endswith(".classes"):
                _load_classes(layer, kernel, bias, [known.index(one) if one in known else None for one in classes])
            else:
                layer.load_state_dict({"weight": kernel, "bias": bias})
    except (ValueError, RuntimeError, IndexError) as error:
        raise CheckpointError(
            f"{path} is not a network of spot; expected a file of `streamseg train spot`, or yolox_nano.onnx"
        ) from error
    return network


@torch.no_grad()
def _load_classes(layer: nn.Conv2d, kernel: Tensor, bias: Tensor, places: list[int | None]) -> None:
    """Load the rows of the classes that the file has at these places."""
    assert layer.bias is not None
    for row, place in enumerate(places):
        if place is not None:
            layer.weight[row], layer.bias[row] = kernel[place], bias[place]


def _layers(graph: YoloxGraph) -> list[tuple[Tensor, Tensor]]:
    """Kernel and bias of each convolution, in the order in which they run."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.model.graph.initializer}
    widened = {node.output[0]: node.input[0] for node in graph.model.graph.node if node.op_type == "Cast"}
    return [
        (_tensor(tensors[widened.get(name, name)]), _tensor(tensors[widened.get(bias, bias)]))
        for _, name, bias in (node.input for node in graph.model.graph.node if node.op_type == "Conv")
    ]


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
