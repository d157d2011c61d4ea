"""A YOLOX export as an ONNX graph whose input can be given another shape.

The official exports have a fixed, square input. Their convolutions allow any size: only the input's dimensions and the
three Reshape nodes before the output depend on the number of cells, and this module rewrites them.

It also rewrites their stem ("Focus"), which stacks four subsampled images, one per pixel of a 2x2 block, and convolves
them by 3x3. One 6x6 convolution of the image with stride two computes the same sum, and faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnx.checker
import onnx.helper
import onnx.numpy_helper
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from streamseg.errors import CheckpointError

_UNREADABLE = (DecodeError, onnx.checker.ValidationError, OSError, ValueError, TypeError, IndexError)
"""Raised for a damaged file; the second one for data in files outside the export's folder."""
CLASSES_KEY: Final = "streamseg.classes"
"""Of the file's properties: the names of the classes, one per line."""
_LONGEST_NAME = 64
_NO_END = 2**31 - 1
"""A Slice that ends here or later ends at the end of the axis."""


@dataclass(frozen=True, slots=True, eq=False)
class YoloxGraph:
    """A YOLOX export, read and checked.

    Attributes:
        path: For error messages.
        model: The export, with its stem as one convolution.
        height: Of its input; 0 if any height will do.
        width: Likewise.
        class_count: Number of classes.
        classes: Their names, if the file has them, as those of `streamseg train spot` do.
    """

    path: Path
    model: onnx.ModelProto
    height: int
    width: int
    class_count: int
    classes: tuple[str, ...] | None

    def reshaped(self, height: int, width: int) -> bytes:
        """Serialise the network for an input of shape (1, 3, height, width)."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        graph = model.graph
        _set_shape(_image_inputs(graph)[0], (1, 3, height, width))
        _set_shape(graph.output[0], (1, "cells", 5 + self.class_count))
        del graph.value_info[:]
        constants = _constants(graph)
        for node in graph.node:
            if node.op_type == "Reshape" and node.input[1] in constants:
                _free_cells(constants[node.input[1]], channels=5 + self.class_count)
        return bytes(model.SerializeToString())


def read_yolox_graph(path: Path) -> YoloxGraph:
    """Read a YOLOX export: one image in, raw outputs of shape (1, cells, 5 + classes) out.

    Raises:
        CheckpointError: The file or the data that it keeps in other files is not ONNX, or not such an export.
    """
    try:
        return _read(path, onnx.load(path))
    except _UNREADABLE as error:
        raise CheckpointError(f"{path} is not an ONNX file ({error}); expected a YOLOX export") from error


def _read(path: Path, model: onnx.ModelProto) -> YoloxGraph:
    inputs, outputs = _image_inputs(model.graph), model.graph.output
    if len(inputs) != 1 or len(outputs) != 1:
        raise CheckpointError(
            f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; expected a YOLOX export with one of each"
        )
    image, rows = _shape(inputs[0]), _shape(outputs[0])
    if len(image) != 4 or image[1] != 3 or len(rows) != 3 or rows[2] < 6:
        raise CheckpointError(
            f"{path} maps {image} to {rows}; expected a YOLOX export, (1, 3, height, width) to (1, cells, 5 + classes)"
        )
    _join_stem(model.graph, inputs[0].name)
    count = rows[2] - 5
    return YoloxGraph(path, model, image[2], image[3], count, _names(path, model, count))


def _names(path: Path, model: onnx.ModelProto, count: int) -> tuple[str, ...] | None:
    """The names of the classes that a file has, if it has any."""
    text = next((entry.value for entry in model.metadata_props if entry.key == CLASSES_KEY), None)
    if text is None:
        return None
    names = tuple(text.split("\n"))
    if len(set(names)) != count or not all(name.isprintable() and 0 < len(name) <= _LONGEST_NAME for name in names):
        raise CheckpointError(
            f"{path} names its classes wrongly; expected {count} different names of at most {_LONGEST_NAME} characters"
        )
    return names


def _image_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs without weights, which older exports list among the inputs."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Dimensions of a tensor; 0 for an open one."""
    return tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)


def _set_shape(value: onnx.ValueInfoProto, sizes: tuple[int | str, ...]) -> None:
    for dimension, size in zip(value.type.tensor_type.shape.dim, sizes, strict=True):
        if isinstance(size, int):
            dimension.dim_value = size
        else:
            dimension.dim_param = size


def _free_cells(tensor: onnx.TensorProto, channels: int) -> None:
    """Make a Reshape to (1, channels, cells) infer the number of cells."""
    shape = onnx.numpy_helper.to_array(tensor)
    if shape.shape == (3,) and shape[1] == channels:
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.array([1, channels, -1], np.int64), tensor.name))


def _constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """The graph's constant tensors, by name."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    return constants | {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}


def _join_stem(graph: onnx.GraphProto, image: str) -> None:
    """Replace a Focus stem by one convolution; a graph without one stays as it is."""
    conv = next((node for node in graph.node if node.op_type == "Conv"), None)
    kernel = None if conv is None else _joined_kernel(graph, conv, image)
    if conv is None or kernel is None:
        return
    name = f"{conv.input[1]}.joined"
    graph.initializer.append(onnx.numpy_helper.from_array(kernel, name))
    conv.input[0], conv.input[1] = image, name
    del conv.attribute[:]
    for key, value in (("kernel_shape", [6, 6]), ("strides", [2, 2]), ("pads", [2, 2, 2, 2])):
        conv.attribute.append(onnx.helper.make_attribute(key, value))
    _drop_unread(graph)


def _joined_kernel(graph: onnx.GraphProto, conv: onnx.NodeProto, image: str) -> NDArray[np.float32] | None:
    """The kernel, shape (channels, 3, 6, 6), equal to a Focus stem that ends with `conv`; None if there is none."""
    makers = {output: node for node in graph.node for output in node.output}
    constants = _constants(graph)
    stack = makers.get(conv.input[0])
    if stack is None or stack.op_type != "Concat" or stack.attribute[0].i != 1 or conv.input[1] not in constants:
        return None
    kernel = onnx.numpy_helper.to_array(constants[conv.input[1]])
    settings = {attribute.name: list(attribute.ints) for attribute in conv.attribute}
    plain = all(settings.get(name, [1, 1]) == [1, 1] for name in ("strides", "dilations"))
    if kernel.shape[1:] != (12, 3, 3) or len(stack.input) != 4 or not plain or settings.get("pads") != [1, 1, 1, 1]:
        return None
    joined = np.zeros((len(kernel), 3, 6, 6), np.float32)
    for part, weights in zip(stack.input, np.split(kernel, 4, axis=1), strict=True):
        corner = _corner(part, image, makers, constants)
        if corner is None:
            return None
        joined[:, :, corner[0] :: 2, corner[1] :: 2] += weights
    return joined


def _corner(
    part: str, image: str, makers: dict[str, onnx.NodeProto], constants: dict[str, onnx.TensorProto]
) -> tuple[int, int] | None:
    """The row and column at which Slices start to take every other pixel; None if they do anything else."""
    starts: dict[int, int] = {}
    while part != image:
        node = makers.get(part)
        if (
            node is None
            or node.op_type != "Slice"
            or len(node.input) != 5
            or not constants.keys() >= set(node.input[1:])
        ):
            return None
        bounds = (onnx.numpy_helper.to_array(constants[name]).tolist() for name in node.input[1:])
        for start, end, axis, step in zip(*bounds, strict=False):
            if start not in (0, 1) or end < _NO_END or axis not in (2, 3) or axis in starts or step != 2:
                return None
            starts[axis] = start
        part = node.input[0]
    return (starts[2], starts[3]) if len(starts) == 2 else None


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Remove the nodes whose outputs nothing reads."""
    read = {output.name for output in graph.output}
    for node in reversed(list(graph.node)):
        if read.isdisjoint(node.output):
            graph.node.remove(node)
        else:
            read.update(node.input)
