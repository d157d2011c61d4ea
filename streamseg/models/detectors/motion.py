"""Finds moving objects without weights, in a few milliseconds a frame.

It combines two kinds of evidence. Optical flow shows motion against the camera's own motion, but with soft outlines.
The difference to a background model has sharp outlines, but also shows ghosts: places where an object was when the
background was sampled. So a pixel is foreground where flow shows motion and, if the background is known, the pixel
differs from it. What does not move becomes background at once, so a ghost disappears with its object.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import Box, box_area, enclosing_box, intersection
from streamseg.messages import Detection, Image
from streamseg.models.detectors.classes import MOTION_CLASSES, class_numbers
from streamseg.models.options import DetectorSettings

_SIDE = 320
"""Longer side of the reduced frame, in pixels. Lengths below are in its pixels."""
_LAGS = (2, 8)
"""Frames between the two that are compared: the short lag shows fast objects, the long one slow objects."""
_MOVES = 0.6
"""Minimum flow of a moving pixel over a lag, relative to the camera's motion."""
_CAMERA_RESTS = 1.0
"""Maximum displacement of a frame corner over a lag while the camera counts as still."""
_CAMERA_SHARE = 0.3
"""Minimum share of the frame that must fit the estimated camera motion."""
_CHANGED = 14.0
"""Minimum difference of a changed pixel, in grey levels."""
_CUT = 20.0
"""Mean error of the flow-warped frame, in grey levels, above which the scene was cut."""
_KNOWN = 5
"""Frames without motion after which a pixel's background is known."""
_SMALLEST, _SMALLEST_UNKNOWN = 0.0008, 0.004
"""Minimum area of a moving region as a share of the frame, with a known and with an unknown background."""
_PADDING = 1.0
"""Added to each side of a box, so that a soft outline lies inside."""

Grey = NDArray[np.uint8]
Plane = NDArray[np.float32]
Bits = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Motion:
    """Motion between two frames; arrays have the shape (height, width).

    Attributes:
        moves: Pixels that move relative to the camera.
        certain: Moving pixels that motion predicts better than the camera's motion alone.
        change: Difference in grey levels from the frame that the camera's motion alone predicts.
        camera_rests: Whether the camera is still.
    """

    moves: Bits
    certain: Bits
    change: Plane
    camera_rests: bool


class _State(msgspec.Struct):
    """The memory of `MotionDetector`: the bytes of its arrays, whose last axis but the channels has `columns`."""

    columns: int
    past: list[bytes]
    background: bytes
    rested: bytes


class MotionDetector:
    """Finds moving objects in a sequence of frames, given in order.

    The first frame, and the first after a cut or a new geometry, has no boxes. The confidence of an object is
    `m / (m + threshold)` of its mean change `m`: 0.5 at the threshold.

    Raises:
        SettingsError: `settings.classes` has another class than `moving`.
    """

    name = "motion"
    classes = MOTION_CLASSES

    def __init__(self, settings: DetectorSettings) -> None:
        class_numbers(MOTION_CLASSES, settings.classes)
        self._conf = settings.conf
        self._max_det = settings.max_det
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._past: deque[Grey] = deque(maxlen=max(_LAGS))
        self._background = np.zeros((0, 0, 3), np.float32)
        self._rested = np.zeros((0, 0), np.int32)

    def detect(self, image: Image) -> list[Detection]:
        """Find the objects that move in the next frame, shape (height, width, 3), uint8, BGR; most confident first."""
        small = _reduce(image)
        grey: Grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)
        if not self._past or self._past[0].shape != grey.shape:
            return self._start(small, grey)
        lags = sorted({min(lag, len(self._past)) for lag in _LAGS})
        motions = [_motion(self._flow, grey, self._past[-lag]) for lag in lags]
        near = motions[0]
        if near is None:
            return self._start(small, grey)
        self._past.append(grey)
        foreground, change = self._separate(small, near, [motion for motion in motions if motion is not None])
        return self._detections(foreground, change, image.shape[1], image.shape[0])

    def state(self) -> bytes:
        """The frames and the background that the next frames are compared with: 1.4 MB for 16:9."""
        past = [grey.tobytes() for grey in self._past]
        state = _State(self._rested.shape[1], past, self._background.tobytes(), self._rested.tobytes())
        return msgspec.msgpack.encode(state)

    def restore(self, state: bytes) -> None:
        """Continue from a state."""
        saved = msgspec.msgpack.decode(state, type=_State)
        columns = max(1, saved.columns)
        self._past.clear()
        self._past.extend(np.frombuffer(grey, np.uint8).reshape(-1, columns) for grey in saved.past)
        self._background = np.frombuffer(saved.background, np.float32).reshape(-1, columns, 3).copy()
        self._rested = np.frombuffer(saved.rested, np.int32).reshape(-1, columns).copy()

    def _start(self, small: Image, grey: Grey) -> list[Detection]:
        self._past.clear()
        self._past.append(grey)
        self._background = small.astype(np.float32)
        self._rested = np.zeros(grey.shape, np.int32)
        return []

    def _separate(self, small: Image, near: _Motion, motions: list[_Motion]) -> tuple[Bits, Plane]:
        """Split foreground from background, and update the background where nothing moves."""
        certain = np.logical_or.reduce([motion.certain for motion in motions])
        change = np.maximum.reduce([motion.change for motion in motions])
        if not all(motion.camera_rests for motion in motions):
            self._background = small.astype(np.float32)
            self._rested[:] = 0
            return certain, change
        moving = _dilate(near.moves | certain, 7)  # over the long lag, uncovered background seems to move too
        difference = np.abs(small - self._background).max(axis=2)
        known = self._rested >= _KNOWN
        rate = np.where(known, np.where(difference > _CHANGED, 0.3, 0.05), 1.0 / (self._rested + 1))
        rate[moving] = 0.0
        self._background += rate[..., None].astype(np.float32) * (small - self._background)
        self._rested = np.where(moving, np.where(known, self._rested, 0), self._rested + 1)
        return moving & np.where(known, difference > _CHANGED, certain), np.where(known, difference, change)

    def _detections(self, foreground: Bits, change: Plane, width: int, height: int) -> list[Detection]:
        rows, columns = foreground.shape
        opened = cv2.morphologyEx(foreground.astype(np.uint8), cv2.MORPH_OPEN, _disc(3))
        closed = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, _disc(9))
        _, _, statistics, _ = cv2.connectedComponentsWithStats(closed)
        smallest = (_SMALLEST if self._rested.any() else _SMALLEST_UNKNOWN) * rows * columns
        boxes = _merge([_box(row) for row in statistics[1:] if row[cv2.CC_STAT_AREA] >= smallest])
        scale_x, scale_y = width / columns, height / rows
        detections = []
        for left, top, right, bottom in boxes:
            inside = np.s_[int(top) : int(bottom), int(left) : int(right)]
            strength = float(change[inside][opened[inside] > 0].mean())
            xyxy = (
                max(0.0, (left - _PADDING) * scale_x),
                max(0.0, (top - _PADDING) * scale_y),
                min(float(width), (right + _PADDING) * scale_x),
                min(float(height), (bottom + _PADDING) * scale_y),
            )
            detections.append(
                Detection(
                    xyxy=xyxy, confidence=strength / (strength + _CHANGED), class_id=0, class_name=MOTION_CLASSES[0]
                )
            )
        kept = [detection for detection in detections if detection.confidence >= self._conf]
        return sorted(kept, key=lambda detection: -detection.confidence)[: self._max_det]


def _reduce(image: Image) -> Image:
    height, width = image.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    return np.asarray(cv2.GaussianBlur(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (3, 3), 0))


def _motion(flow: cv2.DISOpticalFlow, grey: Grey, earlier: Grey) -> _Motion | None:
    """Compare a frame of shape (height, width) with an earlier one; None if they show different scenes."""
    rows, columns = grey.shape
    steps = np.asarray(flow.calc(grey, earlier, np.zeros((rows, columns, 2), np.float32)))
    ys, xs = np.mgrid[0:rows, 0:columns].astype(np.float32)
    then_x, then_y = xs + steps[..., 0], ys + steps[..., 1]
    error = cv2.absdiff(grey, _sample(earlier, then_x, then_y)).astype(np.float32)
    camera = _camera(xs, ys, then_x, then_y)
    if camera is None or error.mean() > _CUT:
        return None
    corners = np.array([[0, 0, 1], [columns, 0, 1], [0, rows, 1], [columns, rows, 1]], np.float32)
    rests = bool(np.abs(corners @ camera.T - corners[:, :2]).max() < _CAMERA_RESTS)
    still_x, still_y = (xs, ys) if rests else (xs * camera[i, 0] + ys * camera[i, 1] + camera[i, 2] for i in range(2))
    change = cv2.absdiff(grey, _sample(earlier, still_x, still_y)).astype(np.float32)
    seen = (still_x >= 0) & (still_y >= 0) & (still_x <= columns - 1) & (still_y <= rows - 1)
    speed = np.hypot(then_x - still_x, then_y - still_y)
    moves = (speed > _MOVES) & seen
    explained = (cv2.blur(change, (3, 3)) > _CHANGED / 2) & (error < np.maximum(_CHANGED / 2, 0.6 * change))
    return _Motion(moves, moves & explained & (speed > _half_speed(moves, speed)), change, rests)


def _camera(xs: Plane, ys: Plane, then_x: Plane, then_y: Plane) -> NDArray[np.float32] | None:
    """Estimate the affine map, shape (2, 3), from now to then that most of the frame fits; None if there is none."""
    grid = np.s_[4::8, 4::8]
    now = np.stack([xs[grid].ravel(), ys[grid].ravel()], axis=1)
    then = np.stack([then_x[grid].ravel(), then_y[grid].ravel()], axis=1)
    affine, followers = cv2.estimateAffine2D(now, then, method=cv2.RANSAC, ransacReprojThreshold=1.0, maxIters=200)
    return np.asarray(affine, np.float32) if affine is not None and followers.mean() >= _CAMERA_SHARE else None


def _half_speed(moves: Bits, speed: Plane) -> Plane:
    """Half the speed of each moving pixel's region: the middle of the flow's soft outline."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(moves.astype(np.uint8))
    halves = np.zeros(count, np.float32)
    for label in range(1, count):
        left, top, right, bottom = (int(edge) for edge in _box(statistics[label]))
        window = np.s_[top:bottom, left:right]
        halves[label] = 0.5 * np.percentile(speed[window][labels[window] == label], 80)
    spread: Plane = halves[labels]
    return spread


def _sample(picture: Grey, xs: Plane, ys: Plane) -> Grey:
    return np.asarray(cv2.remap(picture, xs, ys, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _disc(size: int) -> Grey:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))


def _dilate(bits: Bits, size: int) -> Bits:
    return np.asarray(cv2.dilate(bits.astype(np.uint8), _disc(size)) > 0)


def _box(statistics: NDArray[np.int32]) -> Box:
    left, top, width, height = (float(value) for value in statistics[: cv2.CC_STAT_AREA])
    return left, top, left + width, top + height


def _merge(boxes: list[Box]) -> list[Box]:
    """Unite boxes that overlap by at least a third of the smaller one: parts of one object."""
    united: list[Box] = []
    for box in sorted(boxes, key=box_area, reverse=True):
        for index, other in enumerate(united):
            if box_area(intersection(box, other)) >= box_area(box) / 3:
                united[index] = enclosing_box(box, other)
                break
        else:
            united.append(box)
    return united
