"""YOLOX in ONNX Runtime.

Source: Ge et al., "YOLOX: exceeding YOLO series in 2021", and the exports of its official repository: BGR, 0 to 255, at
the top left of the input on grey 114; raw outputs on grids of strides 8, 16 and 32.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.categories import COCO_CLASSES
from streamseg.errors import CheckpointError, SettingsError
from streamseg.messages import Detection, Image
from streamseg.models.detectors.classes import class_numbers
from streamseg.models.detectors.yolox_graph import YoloxGraph, read_yolox_graph
from streamseg.models.options import Compute, DetectorSettings
from streamseg.models.runtime.onnx import ERRORS, open_session

_STRIDES = (8, 16, 32)
_GREY = 114
_OPEN_GRAPH_SIDE = 640
"""Longer side of the input if neither the settings nor the export sets one."""
_USUAL_FRAME = (720, 1280)
"""Height and width of the frames that the first session is made for; all of 16:9 have the same input."""

Rows = NDArray[np.float32]
Cells = NDArray[np.float32]


class YoloxDetector:
    """Finds objects of the COCO classes, or of a user's own.

    The input has the frame's proportions: its longer side is `settings.imgsz`, its shorter one the next multiple of 32.
    An export whose shape is fixed runs at its own. The session for 16:9 is made at once, one for another shape at its
    first frame. Buffers are reused, so a detector processes one frame at a time.

    Args:
        settings: Thresholds, classes and input size.
        compute: The threads.
        weights: A YOLOX export whose outputs are raw (not decoded in the graph).

    Raises:
        CheckpointError: The file is not a YOLOX export.
        SettingsError: A class is unknown, or `imgsz` is not the side of an export that has a fixed one.
    """

    def __init__(self, settings: DetectorSettings, compute: Compute, weights: Path) -> None:
        self.name = Path(settings.model).stem if settings.model.endswith(".onnx") else settings.model
        self._settings, self._threads = settings, compute.threads
        self._graph = read_yolox_graph(weights)
        self.classes = self._graph.classes or (
            COCO_CLASSES
            if self._graph.class_count == 80
            else tuple(f"class-{i}" for i in range(self._graph.class_count))
        )
        self._wanted = np.isin(np.arange(len(self.classes)), list(class_numbers(self.classes, settings.classes)))
        self._longest = settings.imgsz or max(self._graph.height, self._graph.width) or _OPEN_GRAPH_SIDE
        self._shape = input_shape(*_USUAL_FRAME, self._longest)
        self._runner = self._make_runner(self._shape)

    def detect(self, image: Image) -> list[Detection]:
        """Find the objects in a frame of shape (height, width, 3), uint8, BGR; most confident first."""
        return self.postprocess(self.infer(self.preprocess(image)), image)

    def preprocess(self, image: Image) -> Rows:
        """First step of `detect`: make the input, shape (1, 3, height, width), valid until the next frame."""
        shape = input_shape(image.shape[0], image.shape[1], self._longest)
        if shape != self._shape:
            self._runner = self._make_runner(shape)
            self._shape = shape
        return self._runner.letterbox(image)

    def infer(self, tensor: Rows) -> Rows:
        """Second step: run the network on an input; raw outputs of shape (cells, 5 + classes)."""
        return self._runner.run(tensor)

    def postprocess(self, rows: Rows, image: Image) -> list[Detection]:
        """Last step: convert raw outputs to detections in the frame."""
        settings, runner = self._settings, self._runner
        likely = np.flatnonzero(
            rows[:, 4] >= settings.conf
        )  # a score, objectness times class, is at most the objectness
        class_ids = rows[likely, 5:].argmax(axis=1)
        scores = rows[likely, 4] * rows[likely, 5 + class_ids]
        chosen = (scores >= settings.conf) & self._wanted[class_ids]
        likely, class_ids, scores = likely[chosen], class_ids[chosen], scores[chosen]
        height, width = image.shape[:2]
        columns, lines = fitted_size(height, width, runner.height, runner.width)
        boxes = decode(rows[likely], runner.cells[likely]).astype(np.float64) * ((width / columns, height / lines) * 2)
        boxes = boxes.clip(0.0, (width, height, width, height))
        valid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])  # false for NaN, too
        return self._most_confident(boxes[valid], scores[valid], class_ids[valid])

    def _make_runner(self, shape: tuple[int, int]) -> _Runner:
        """Make a session for that height and width or, if the export does not allow it, for the export's own."""
        graph, threads = self._graph, self._threads
        try:
            return _Runner(graph, graph.reshaped(*shape), *shape, threads)
        except CheckpointError:
            if not (graph.height and graph.width):
                raise
            if self._settings.imgsz not in (None, graph.height, graph.width):
                fixed = f"{graph.path.name} only runs at {graph.width}x{graph.height}"
                raise SettingsError(f"detector.imgsz: {fixed}; leave the key out, or use another export") from None
        return _Runner(graph, graph.model.SerializeToString(), graph.height, graph.width, threads)

    def _most_confident(self, boxes: NDArray[np.float64], scores: Rows, class_ids: NDArray[np.intp]) -> list[Detection]:
        """Suppress boxes that overlap a more confident one of their class, and return the rest as detections."""
        if not len(boxes):
            return []
        sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        suppressed = cv2.dnn.NMSBoxesBatched(
            sides.tolist(), scores.tolist(), class_ids.tolist(), 0.0, self._settings.iou
        )
        kept = np.asarray(suppressed, np.intp).ravel()
        kept = kept[np.argsort(-scores[kept], kind="stable")][: self._settings.max_det]
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
    """An ONNX Runtime session for one input shape, with its grid cells and its input buffer.

    Raises:
        CheckpointError: The graph does not run at that shape, or its output is not YOLOX's.
    """

    def __init__(self, graph: YoloxGraph, serialised: bytes, height: int, width: int, threads: int | None) -> None:
        self.height, self.width = height, width
        self.cells = grid_cells(height, width)
        self._path = graph.path
        self._canvas = np.full((height, width, 3), _GREY, np.uint8)
        self._tensor = np.full((1, 3, height, width), _GREY, np.float32)
        try:
            self._session = open_session(serialised, threads)
        except ERRORS as error:
            raise CheckpointError(_not_run(graph.path, height, width, error)) from error
        self._input = self._session.get_inputs()[0].name
        rows, expected = self.run(self._tensor).shape, (len(self.cells), 5 + graph.class_count)
        if rows != expected:
            raise CheckpointError(
                f"{graph.path} gives {rows} at {width}x{height}; expected a YOLOX export, which gives {expected}"
            )

    def letterbox(self, image: Image) -> Rows:
        """Resize a frame into the top left of the input, shape (1, 3, height, width); valid until the next call."""
        columns, rows = fitted_size(image.shape[0], image.shape[1], self.height, self.width)
        self._canvas[rows:] = _GREY
        self._canvas[:rows, columns:] = _GREY
        cv2.resize(image, (columns, rows), dst=self._canvas[:rows, :columns], interpolation=cv2.INTER_LINEAR)
        for plane, channel in zip(self._tensor[0], cv2.split(self._canvas), strict=True):
            plane[:] = channel
        return self._tensor

    def run(self, tensor: Rows) -> Rows:
        """Return raw outputs, shape (cells, 5 + classes), of an input of shape (1, 3, height, width)."""
        try:
            rows: Rows = np.asarray(self._session.run(None, {self._input: tensor})[0][0], np.float32)
        except ERRORS as error:
            raise CheckpointError(_not_run(self._path, self.height, self.width, error)) from error
        return rows


def input_shape(height: int, width: int, longest: int) -> tuple[int, int]:
    """Height and width, in multiples of 32, of the smallest input for a frame whose longer side becomes `longest`."""
    scale = longest / max(height, width)
    shorter = max(32, -(-round(min(height, width) * scale) // 32) * 32)
    return (shorter, longest) if width >= height else (longest, shorter)


def fitted_size(frame_height: int, frame_width: int, height: int, width: int) -> tuple[int, int]:
    """Columns and rows of an input of that height and width that a frame covers."""
    scale = min(height / frame_height, width / frame_width)
    return max(1, round(frame_width * scale)), max(1, round(frame_height * scale))


def grid_cells(height: int, width: int) -> Cells:
    """Column, row and stride of the cell of each raw output, shape (cells, 3)."""
    grids = []
    for stride in _STRIDES:
        ys, xs = np.mgrid[0 : height // stride, 0 : width // stride]
        grids.append(np.stack([xs.ravel(), ys.ravel(), np.full(xs.size, stride)], axis=1))
    return np.concatenate(grids).astype(np.float32)


def decode(rows: Rows, cells: Cells) -> Rows:
    """Convert raw outputs of cells, shape (n, 4 or more), to boxes x1, y1, x2, y2 in input pixels, shape (n, 4)."""
    strides = cells[:, 2:]
    centres = (rows[:, :2] + cells[:, :2]) * strides
    with np.errstate(over="ignore", invalid="ignore"):
        halves = np.exp(rows[:, 2:4]) * strides / 2
        boxes: Rows = np.concatenate([centres - halves, centres + halves], axis=1)
    return boxes


def _not_run(path: Path, height: int, width: int, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0]
    return f"{path} cannot be run at {width}x{height} ({reason}); use another YOLOX export"
