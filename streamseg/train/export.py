"""Writes the network of PyTorch as an ONNX file, and reads it back."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor, nn

from streamseg.errors import CheckpointError
from streamseg.models.segmenters.nano import SIDE
from streamseg.models.segmenters.nano.network_file import (
    FORMAT,
    FORMAT_KEY,
    HINTS,
    LOGITS,
    PICTURES,
    QUALITY,
    TRAINED_ON_KEY,
    TrainedOn,
)
from streamseg.train.checkpoint import write_file
from streamseg.train.network import NanoNetwork

_OPSET = 17


class _Probability(nn.Module):
    """The network with its predicted IoU from 0 to 1."""

    def __init__(self, network: NanoNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor, hints: Tensor) -> tuple[Tensor, Tensor]:
        logits, quality = self.network(pictures, hints)
        return logits, quality.sigmoid()


def write_network(network: NanoNetwork, trained_on: TrainedOn, path: Path) -> None:
    """Write a network with folded normalisations atomically.

    Raises:
        UsageError: It cannot be written.
    """
    content = _onnx(network)
    _complete(content.graph, network)
    _halve(content.graph)
    notes = {FORMAT_KEY: FORMAT, TRAINED_ON_KEY: trained_on.encode()}
    onnx.helper.set_model_props(content, notes)
    onnx.checker.check_model(content)
    write_file(path, content.SerializeToString(deterministic=True))


def read_network(content: bytes, named: str) -> NanoNetwork:
    """Read the network of such a file, without normalisations, for further training.

    Raises:
        CheckpointError: The file has another network.
    """
    network = NanoNetwork()
    try:
        tensors = {
            tensor.name: numpy_helper.to_array(tensor)
            for tensor in onnx.load_model_from_string(content).graph.initializer
        }
        state = {name: torch.from_numpy(tensors[f"{name}{_HALF}"].astype(np.float32)) for name in network.state_dict()}
        network.load_state_dict(state)
    except (DecodeError, KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{named} is not a network of nano; expected a file that `streamseg train nano` wrote"
        ) from error
    return network


_HALF = ".half"
"""Ending of the name of a stored tensor; the widened one has the name without it."""


def _onnx(network: NanoNetwork) -> onnx.ModelProto:
    content: Any = io.BytesIO()
    sample = torch.zeros(2, 3, SIDE, SIDE)
    names = (PICTURES, HINTS, LOGITS, QUALITY)
    with warnings.catch_warnings():
        # The other exporter needs another package and ten times the time.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Probability(network.cpu().float().eval()),
            (sample, sample),
            content,
            opset_version=_OPSET,
            dynamo=False,
            input_names=[PICTURES, HINTS],
            output_names=[LOGITS, QUALITY],
            dynamic_axes={name: {0: "boxes"} for name in names},
        )
    return onnx.load_model_from_string(content.getvalue())


def _complete(graph: onnx.GraphProto, network: NanoNetwork) -> None:
    """Store each tensor separately: of equal ones, the exporter stores only one."""
    stored = {tensor.name for tensor in graph.initializer}
    missing = {
        f"network.{name}": tensor for name, tensor in network.state_dict().items() if f"network.{name}" not in stored
    }
    graph.initializer.extend(numpy_helper.from_array(tensor.numpy(), name) for name, tensor in missing.items())
    nodes = [node for node in graph.node if not missing.keys() & set(node.output)]
    del graph.node[:]
    graph.node.extend(nodes)


def _halve(graph: onnx.GraphProto) -> None:
    """Store the weights in half precision; ONNX Runtime widens them when it loads them."""
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or not tensor.name.startswith("network."):
            continue
        name = tensor.name
        stored = f"{name.removeprefix('network.')}{_HALF}"
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(onnx.helper.make_node("Cast", [stored], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
