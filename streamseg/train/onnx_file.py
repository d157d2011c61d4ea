"""Networks of PyTorch as ONNX files with weights in half precision, and back."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor, nn

_OPSET = 17
_HALF = ".half"
"""Ending of the name of a stored tensor; the widened one has the name without it."""
_PREFIX = "network."
"""Of the weights' names in the exported module, which holds the network under that name."""


class Exportable(nn.Module):
    """What is exported: a network, and what makes its outputs those of the file."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network


def export(
    module: Exportable, sample: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str], batch: str | None
) -> onnx.ModelProto:
    """Export a module with the weights of its network in half precision.

    Args:
        module: In float32 on the CPU, with folded normalisations.
        sample: Inputs, whose shapes the file keeps.
        inputs: Their names.
        outputs: Names of the outputs.
        batch: Name of the first dimension of all of them if it may vary; None keeps the sample's.
    """
    content: Any = io.BytesIO()
    with warnings.catch_warnings():
        # The other exporter needs another package and ten times the time.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            sample,
            content,
            opset_version=_OPSET,
            dynamo=False,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={} if batch is None else {name: {0: batch} for name in (*inputs, *outputs)},
        )
    model = onnx.load_model_from_string(content.getvalue())
    _complete(model.graph, module.network)
    _halve(model.graph)
    onnx.checker.check_model(model)
    return model


def read_weights(content: bytes, names: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read the weights of such a file in float32.

    Args:
        content: Of the file.
        names: The state of a network like the file's.

    Raises:
        ValueError: The file is damaged, or has another network.
    """
    try:
        tensors = {
            tensor.name: numpy_helper.to_array(tensor)
            for tensor in onnx.load_model_from_string(content).graph.initializer
        }
        return {name: torch.from_numpy(tensors[f"{name}{_HALF}"].astype(np.float32)) for name in names}
    except (DecodeError, KeyError, RuntimeError) as error:
        raise ValueError(str(error)) from error


def _complete(graph: onnx.GraphProto, network: nn.Module) -> None:
    """Store each tensor separately: of equal ones, the exporter stores only one."""
    stored = {tensor.name for tensor in graph.initializer}
    missing = {
        f"{_PREFIX}{name}": tensor for name, tensor in network.state_dict().items() if f"{_PREFIX}{name}" not in stored
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
        if values.dtype != np.float32 or not tensor.name.startswith(_PREFIX):
            continue
        name = tensor.name
        stored = f"{name.removeprefix(_PREFIX)}{_HALF}"
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(onnx.helper.make_node("Cast", [stored], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
