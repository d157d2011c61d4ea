"""YOLOX by ONNX Runtime.

Source: Ge et al., "YOLOX: exceeding YOLO series in 2021", and the exports of its official repository: BGR, 0 to 255, fitted into
the top left of the input on grey 114; raw outputs on grids of strides 8, 16 and 32.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

from streamseg.errors import CheckpointError, SettingsError
from streamseg.messages import Detection, Image
from streamseg.models.detector_names import COCO_CLASSES, class_numbers
from streamseg.models.detectors import DetectorOptions
from streamseg.models.detectors.yolox_graph import YoloxGraph, read_yolox_graph

_STRIDES = (8, 16, 32)
_GREY = 114
_OPEN_GRAPH_SIDE = 640
"""Longer side of the input where neither the settings nor the export say one."""
_RUNTIME_ERRORS = (
    runtime_errors.Fail,
    runtime_errors.InvalidArgument,
    runtime_errors.InvalidGraph,
    runtime_errors.InvalidProtobuf,
    runtime_errors.NotImplemented,
    runtime_errors.RuntimeException,
)

Rows = NDArray[np.float32]


class YoloxDetector:
    """Finds objects of the COCO classes, or of a user's own.

    The input follows the picture: its longer side is `options.imgsz`, its shorter one the next multiple of 32. An export that
    cannot be given that shape runs at its own. The session for a shape is made when the first frame of that shape comes.

    Args:
        options: Thresholds, classes, threads.
        weights: A YOLOX export whose outputs are raw (not decoded in the graph).

    Raises:
        CheckpointError: The file is not a YOLOX export.
        SettingsError: A class is unknown, or `imgsz` is not the side of an export that has a fixed one.
    """

    def __init__(self, options: DetectorOptions, weights: Path) -> None:
        self.name = Path(options.model).stem if options.model.endswith(".onnx") else options.model
        self._options = options
        self._graph = read_yolox_graph(weights)
        self.classes = COCO_CLASSES if self._graph.class_count == 80 else tuple(f"class-{i}" for i in range(self._graph.class_count))
        self._wanted = class_numbers(self.classes, options.classes)
        self._runner: _Runner | None = None
        self._frame_shape = (0, 0)

    def detect(self, image: Image) -> list[Detection]:
        """Find objects in a frame of shape (height, width, 3), uint8, BGR; boxes in its pixels, most confident first."""
        if self._runner is None or self._frame_shape != image.shape[:2]:
            self._runner = self._make_runner(image.shape[0], image.shape[1])
            self._frame_shape = (image.shape[0], image.shape[1])
        tensor, columns, rows = letterbox(image, self._runner.height, self._runner.width)
        found = decode(self._runner.run(tensor), self._runner.height, self._runner.width)
        return self._detections(found, image, image.shape[1] / columns, image.shape[0] / rows)

    def _make_runner(self, height: int, width: int) -> _Runner:
        """A session for frames of that size: of the size's own shape where the export allows it."""
        graph, threads = self._graph, self._options.threads
        longest = self._options.imgsz or max(graph.height, graph.width) or _OPEN_GRAPH_SIDE
        wanted = input_shape(height, width, longest)
        try:
            return _Runner(graph, graph.reshaped(*wanted), *wanted, threads)
        except CheckpointError:
            if not (graph.height and graph.width):
                raise
            if self._options.imgsz not in (None, graph.height, graph.width):
                fixed = f"{graph.path.name} only runs at {graph.width}x{graph.height}"
                raise SettingsError(f"detector.imgsz: {fixed}; leave the key out, or use another export") from None
        return _Runner(graph, graph.model.SerializeToString(), graph.height, graph.width, threads)

    def _detections(self, found: Rows, image: Image, scale_x: float, scale_y: float) -> list[Detection]:
        """Turn decoded rows, in pixels of the input, into detections in pixels of the frame."""
        options = self._options
        class_ids = found[:, 5:].argmax(axis=1)
        scores = found[:, 4] * found[np.arange(len(found)), 5 + class_ids]
        chosen = (scores >= options.conf) & np.isin(class_ids, list(self._wanted))
        boxes = found[chosen, :4].astype(np.float64) * (scale_x, scale_y, scale_x, scale_y)
        boxes = boxes.clip(0.0, (image.shape[1], image.shape[0], image.shape[1], image.shape[0]))
        class_ids, scores = class_ids[chosen], scores[chosen]
        solid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])  # false for NaN, too
        boxes, class_ids, scores = boxes[solid], class_ids[solid], scores[solid]
        if not len(boxes):
            return []
        sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        kept = np.asarray(cv2.dnn.NMSBoxesBatched(sides.tolist(), scores.tolist(), class_ids.tolist(), 0.0, options.iou), np.intp).ravel()
        kept = kept[np.argsort(-scores[kept], kind="stable")][: options.max_det]
        return [
            Detection(
                xyxy=tuple(boxes[i].tolist()),
                confidence=float(min(scores[i], 1.0)),
                class_id=int(class_ids[i]),
                class_name=self.classes[class_ids[i]],
            )
            for i in kept
        ]


class _Runner:
    """An ONNX Runtime session for one input shape.

    Raises:
        CheckpointError: The graph does not run at that shape, or its output is not YOLOX's.
    """

    def __init__(self, graph: YoloxGraph, serialised: bytes, height: int, width: int, threads: int) -> None:
        self.height, self.width = height, width
        self._path = graph.path
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        settings.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(serialised, settings, providers=["CPUExecutionProvider"])
        except _RUNTIME_ERRORS as error:
            raise CheckpointError(_not_run(graph.path, height, width, error)) from error
        self._input = self._session.get_inputs()[0].name
        rows = self.run(np.full((1, 3, height, width), _GREY, np.float32))
        cells = sum((height // stride) * (width // stride) for stride in _STRIDES)
        if rows.shape != (cells, 5 + graph.class_count):
            expected = f"({cells}, {5 + graph.class_count})"
            raise CheckpointError(f"{graph.path} gives {rows.shape} at {width}x{height}; expected a YOLOX export, which gives {expected}")

    def run(self, tensor: Rows) -> Rows:
        """Raw outputs, shape (cells, 5 + classes), of an input of shape (1, 3, height, width)."""
        try:
            rows: Rows = np.asarray(self._session.run(None, {self._input: tensor})[0][0], np.float32)
        except _RUNTIME_ERRORS as error:
            raise CheckpointError(_not_run(self._path, self.height, self.width, error)) from error
        return rows


def input_shape(height: int, width: int, longest: int) -> tuple[int, int]:
    """Height and width of the smallest input, in multiples of 32, that holds a frame whose longer side becomes `longest`."""
    scale = longest / max(height, width)
    shorter = max(32, -(-round(min(height, width) * scale) // 32) * 32)
    return (shorter, longest) if width >= height else (longest, shorter)


def letterbox(image: Image, height: int, width: int) -> tuple[Rows, int, int]:
    """Fit a frame into the top left of the input.

    Returns:
        The input, shape (1, 3, height, width), float32, BGR, 0 to 255; and how many of its columns and rows the frame takes.
    """
    scale = min(height / image.shape[0], width / image.shape[1])
    columns, rows = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    canvas = np.full((height, width, 3), _GREY, np.uint8)
    cv2.resize(image, (columns, rows), dst=canvas[:rows, :columns], interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], np.float32), columns, rows


def decode(rows: Rows, height: int, width: int) -> Rows:
    """Turn raw outputs into boxes: shape (cells, 5 + classes), the first four columns x1, y1, x2, y2 in pixels of the input."""
    cells = []
    for stride in _STRIDES:
        ys, xs = np.mgrid[0 : height // stride, 0 : width // stride]
        cells.append(np.stack([xs.ravel(), ys.ravel(), np.full(xs.size, stride)], axis=1))
    grid = np.concatenate(cells).astype(np.float32)
    strides = grid[:, 2:]
    centres = (rows[:, :2] + grid[:, :2]) * strides
    with np.errstate(over="ignore", invalid="ignore"):
        halves = np.exp(rows[:, 2:4]) * strides / 2
        corners: Rows = np.concatenate([centres - halves, centres + halves], axis=1)
    decoded: Rows = np.hstack([corners, rows[:, 4:]])
    return decoded


def _not_run(path: Path, height: int, width: int, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0]
    return f"{path} cannot be run at {width}x{height} ({reason}); use another YOLOX export"
