"""A YOLOX export as an ONNX graph whose input can be given another shape.

The official exports are fixed to a square. Their convolutions are not: only the input's dimensions and the three Reshape nodes
before the output hold the number of cells, and those are rewritten here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
from google.protobuf.message import DecodeError

from streamseg.errors import CheckpointError


@dataclass(frozen=True, slots=True, eq=False)
class YoloxGraph:
    """A YOLOX export, read and checked.

    Attributes:
        path: Where it came from, for messages.
        model: The export as it is.
        height: Of the input it was exported for; 0 where any will do.
        width: Likewise.
        class_count: Number of classes.
    """

    path: Path
    model: onnx.ModelProto
    height: int
    width: int
    class_count: int

    def reshaped(self, height: int, width: int) -> bytes:
        """The same network for an input of shape (1, 3, height, width), serialised."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        graph = model.graph
        _set_shape(_image_inputs(graph)[0], (1, 3, height, width))
        _set_shape(graph.output[0], (1, "cells", 5 + self.class_count))
        del graph.value_info[:]
        constants = {tensor.name: tensor for tensor in graph.initializer}
        constants |= {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}
        for node in graph.node:
            if node.op_type == "Reshape" and node.input[1] in constants:
                _free_cells(constants[node.input[1]], channels=5 + self.class_count)
        return bytes(model.SerializeToString())


def read_yolox_graph(path: Path) -> YoloxGraph:
    """Read a YOLOX export: one image in, raw outputs of shape (1, cells, 5 + classes) out.

    Raises:
        CheckpointError: The file is not ONNX, or not such an export.
    """
    try:
        model = onnx.load(path)
    except (DecodeError, OSError) as error:
        raise CheckpointError(f"{path} is not an ONNX file ({error}); expected a YOLOX export") from error
    inputs, outputs = _image_inputs(model.graph), model.graph.output
    if len(inputs) != 1 or len(outputs) != 1:
        raise CheckpointError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; expected a YOLOX export with one of each")
    image, rows = _shape(inputs[0]), _shape(outputs[0])
    if len(image) != 4 or image[1] != 3 or len(rows) != 3 or rows[2] < 6:
        raise CheckpointError(f"{path} maps {image} to {rows}; expected a YOLOX export, (1, 3, height, width) to (1, cells, 5 + classes)")
    return YoloxGraph(path, model, height=image[2], width=image[3], class_count=rows[2] - 5)


def _image_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """What the caller feeds; older exports list their weights among the inputs too."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Dimensions of a tensor; 0 where one is left open."""
    return tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)


def _set_shape(value: onnx.ValueInfoProto, sizes: tuple[int | str, ...]) -> None:
    for dimension, size in zip(value.type.tensor_type.shape.dim, sizes, strict=True):
        if isinstance(size, int):
            dimension.dim_value = size
        else:
            dimension.dim_param = size


def _free_cells(tensor: onnx.TensorProto, channels: int) -> None:
    """Let a Reshape to (1, channels, cells) find the number of cells by itself."""
    shape = onnx.numpy_helper.to_array(tensor)
    if shape.shape == (3,) and shape[1] == channels:
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.array([1, channels, -1], np.int64), tensor.name))
