"""Ways to move masks to newer frames: each starts on a frame with true masks and continues from there."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.flow import Flow, FlowFinder, Grey, coverage_of, grey, mask_of, warp
from benchmarks.truth import TrueFrame
from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import Detection, Image, ObjectMask
from streamseg.propagate.keyframe_mask import FrameTime, Refine, make_keyframe_masks
from streamseg.propagate.propagator import Budget, Propagator

_FRAME_NS = 1_000_000_000 // 30
_BUDGET: Final = Budget(max_age_ns=10_000_000_000, missed_frames=5)
"""Missed objects stay as long as in a live run; masks live longer than the longest lag measured."""
_LEAST_LENGTH = 1e-6
"""Pixels; a shorter interval would overflow the division by its scale."""


class Step:
    """One frame and what came before it.

    Args:
        seq: Number of the frame.
        image: Shape (height, width, 3), uint8, BGR.
        boxes: The objects in it; None for hidden ones.
        before: The frame before it in grey; None for the first frame.
        finder: Finds flow between frames of this size.
    """

    def __init__(
        self, seq: int, image: Image, boxes: Sequence[Box | None], before: Grey | None, finder: FlowFinder
    ) -> None:
        self.seq, self.image, self.boxes = seq, image, boxes
        self._before, self._finder = before, finder

    @functools.cached_property
    def grey(self) -> Grey:
        """The frame in grey."""
        return grey(self.image)

    @functools.cached_property
    def flow(self) -> Flow:
        """The flow from the frame before, computed once for all ways."""
        assert self._before is not None
        return self._finder.find(self._before, self.grey)


@dataclass(frozen=True, slots=True, eq=False)
class MovedMask:
    """A mask on a newer frame, None where it was lost, and its predicted IoU where the way has one."""

    mask: Mask | None
    predicted_iou: float | None = None


class Way(Protocol):
    """Moves the masks of one frame's objects to newer frames."""

    def update(self, step: Step) -> list[MovedMask]:
        """Move all masks to the next frame; the objects keep their places."""
        ...


StartWay = Callable[[int, TrueFrame], Way]
"""Starts a way on the frame of that number with its true masks."""


class Frozen:
    """Leaves each mask in place."""

    def __init__(self, _: int, start: TrueFrame) -> None:
        self._masks = [MovedMask(mask) for mask in start.masks]

    def update(self, _: Step) -> list[MovedMask]:
        """Return the same masks."""
        return self._masks


class ByFlow:
    """Moves each mask's pixels by the flow of the whole frame."""

    def __init__(self, _: int, start: TrueFrame) -> None:
        size = start.image.shape[:2]
        self._coverages = [None if mask is None else coverage_of(mask, *size) for mask in start.masks]

    def update(self, step: Step) -> list[MovedMask]:
        """Warp the coverage of each object."""
        self._coverages = [None if coverage is None else warp(coverage, step.flow) for coverage in self._coverages]
        return [MovedMask(None if coverage is None else mask_of(coverage)) for coverage in self._coverages]


class ByBox:
    """Moves and scales each mask with its box."""

    def __init__(self, _: int, start: TrueFrame) -> None:
        self._start = start

    def update(self, step: Step) -> list[MovedMask]:
        """Move the first masks to the newest boxes."""
        height, width = step.image.shape[:2]
        objects = zip(self._start.masks, self._start.boxes, step.boxes, strict=True)
        return [
            MovedMask(
                None
                if mask is None or first is None or newest is None
                else warp_with_box(mask, first, newest, width, height)
            )
            for mask, first, newest in objects
        ]


class Propagated:
    """Propagates masks as the pipeline does."""

    def __init__(self, seq: int, start: TrueFrame, refine: Refine | None = None) -> None:
        self._propagator = Propagator(_BUDGET, refine)
        detections = _detections(start.boxes)
        masks = [ObjectMask(mask, predicted_iou=1.0) for mask in start.masks if mask is not None]
        self._propagator.add(make_keyframe_masks(_time(seq), start.image, detections, masks, refine))
        self._propagator.update(_time(seq), start.image, detections)
        self._propagator.refine()

    def update(self, step: Step) -> list[MovedMask]:
        """Propagate to the newest frame, then refine."""
        detections = _detections(step.boxes)
        objects = self._propagator.update(_time(step.seq), step.image, detections)
        self._propagator.refine()
        moved = {each.detection.tracker_id: each for each in objects[: len(detections)]}
        return [
            MovedMask(None) if number not in moved else MovedMask(moved[number].mask, moved[number].predicted_iou)
            for number in range(1, len(step.boxes) + 1)
        ]


def _time(seq: int) -> FrameTime:
    return FrameTime(seq, seq * _FRAME_NS)


def _detections(boxes: Sequence[Box | None]) -> list[Detection]:
    """Make detections of the visible objects, numbered by their places."""
    return [
        Detection(xyxy=box, confidence=1.0, class_id=0, class_name="object", tracker_id=number)
        for number, box in enumerate(boxes, 1)
        if box is not None
    ]


def warp_with_box(mask: Mask, from_box: Box, to_box: Box, width: int, height: int) -> Mask | None:
    """Move a mask by the translation and scale that take one box to the other, with nearest-neighbour sampling.

    Args:
        mask: The mask on the segmented frame; it may leave `from_box`.
        from_box: The object's box on the segmented frame, in pixels.
        to_box: The object's box on the newer frame.
        width: Of the newer frame, in pixels.
        height: Of the newer frame, in pixels.

    Returns:
        The mask on the newer frame, cut at its edges; None for a box without area, or without pixels in the frame.
    """
    columns = _sources(mask.x, mask.width, (from_box[0], from_box[2]), (to_box[0], to_box[2]), width)
    rows = _sources(mask.y, mask.height, (from_box[1], from_box[3]), (to_box[1], to_box[3]), height)
    if columns is None or rows is None:
        return None
    (left, source_columns), (top, source_rows) = columns, rows
    return Mask.crop(mask.bits[source_rows].take(source_columns, axis=1), left, top)


def _sources(
    start: int, length: int, origin: tuple[float, float], target: tuple[float, float], limit: int
) -> tuple[int, NDArray[np.intp]] | None:
    """Move an interval along one axis: return its first pixel inside [0, limit), and the source of each pixel."""
    scale = (target[1] - target[0]) / (origin[1] - origin[0]) if origin[1] > origin[0] else 0.0
    first, last = target[0] + (start - origin[0]) * scale, target[0] + (start + length - origin[0]) * scale
    if not (scale > 0 and math.isfinite(first) and math.isfinite(last) and last - first > _LEAST_LENGTH):
        return None
    begin, end = max(math.floor(first), 0), min(math.ceil(last), limit)
    if begin >= end:
        return None
    indices = np.floor((np.arange(begin, end) + 0.5 - first) / scale)
    inside = np.flatnonzero((indices >= 0) & (indices < length))
    if inside.size == 0:
        return None
    return begin + int(inside[0]), indices[inside].astype(np.intp)
