"""What the pixels of a frame show of the tracker's boxes: their colours, and how they moved since the frame before."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import Box, box_areas, overlaps
from streamseg.messages import Image
from streamseg.propagate.appearance import FEW_LEVELS

Grey = NDArray[np.uint8]
ColourHistogram = NDArray[np.float32]
"""Of blue, green and red: shape (512,), sum 1."""
Motion = tuple[float, float]
"""To the right and down, in pixels of the frame."""

_SOFT: Final = np.exp(-0.5 * np.subtract.outer(np.arange(FEW_LEVELS), np.arange(FEW_LEVELS)) ** 2).astype(np.float32)
"""Blur between neighbouring levels, one level wide, so that a shadow does not change every colour: at the overlap that
15% of neighbours of a class reach (COCO), 93% of objects are recognised after ten frames (DAVIS), without it 84%."""
_SAMPLES = 32
"""Pixels along each side of a box from which its colours are taken, to save time. Chosen by hand."""
_EDGE = 0.1
"""Margin of a box whose colours do not count, as a share of its side. With it, colours
distinguish an object from its neighbours better than with 0.2 or 0.3 (DAVIS, COCO)."""
_SIDE = 320
"""Longer side of the pictures between which motion is searched, in pixels: 1 ms a frame."""
_CORE = 0.2
"""Margin of a box whose motion does not count, as a share of its side. Chosen by hand."""
_SMALLEST = 8
"""Side of the remaining core, in pixels of the reduced picture, below which flow shows the background's motion: its
patches have this side."""
_CHANGED = 10.0
"""Median difference in grey levels above which the core has changed, not moved: sensors are noisy, light flickers."""
_HIDES = 0.3
"""Share of a box covered by one in front of it, from which on flow shows the motion of that one. Chosen by hand."""
_BEHIND = 2.5
"""How many times larger a box is that does not count as in front: a person does not hide the cup in their hand. Chosen
by hand."""


class FrameEvidence:
    """One frame."""

    def __init__(self, image: Image) -> None:
        """Take a frame of shape (height, width, 3), uint8, BGR."""
        self._image = image
        self.grey = _reduced(image)

    def colours(self, boxes: Sequence[Box]) -> NDArray[np.float32]:
        """The colours inside each box: a `ColourHistogram` in each row."""
        cores = [self._samples(box) for box in boxes]
        if not cores:
            return np.empty((0, FEW_LEVELS**3), np.float32)
        levels = np.concatenate(cores) // (256 // FEW_LEVELS)
        numbers = levels @ np.array((FEW_LEVELS**2, FEW_LEVELS, 1))
        numbers += np.repeat(np.arange(len(cores)) * FEW_LEVELS**3, [len(core) for core in cores])
        counts = np.bincount(numbers, minlength=len(cores) * FEW_LEVELS**3)
        blurred = counts.reshape(-1, *[FEW_LEVELS] * 3).astype(np.float32)
        for _ in range(3):  # the channel that is blurred becomes the last
            blurred = np.tensordot(blurred, _SOFT, axes=(1, 0))
        histograms = blurred.reshape(len(cores), -1)
        return np.asarray(histograms / histograms.sum(axis=1, keepdims=True), np.float32)

    def _samples(self, box: Box) -> NDArray[np.uint8]:
        """Pixels from the core of a box: shape (n, 3)."""
        height, width = self._image.shape[:2]
        left, top, right, bottom = _inner(box, _EDGE, width, height)
        across, down = max((right - left) // _SAMPLES, 1), max((bottom - top) // _SAMPLES, 1)
        return self._image[top:bottom:down, left:right:across].reshape(-1, 3)

    def motions(self, before: Grey | None, boxes: Sequence[Box]) -> list[Motion | None]:
        """How far the content of boxes in an earlier frame has moved; None where that cannot be seen.

        Args:
            before: `grey` of the earlier frame.
            boxes: Of all objects there.
        """
        if before is None or before.shape != self.grey.shape or not boxes:
            return [None] * len(boxes)
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        flow = search.calc(before, self.grey, np.zeros((*before.shape, 2), np.float32))
        columns, rows = _places(*before.shape)
        found = cv2.remap(self.grey, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR)
        change, scale = np.asarray(cv2.absdiff(found, before), np.uint8), self._image.shape[1] / before.shape[1]
        hidden = _hidden(boxes)
        return [
            None if place in hidden else _motion(box, np.asarray(flow, np.float32), change, scale)
            for place, box in enumerate(boxes)
        ]


def _reduced(image: Image) -> Grey:
    height, width = image.shape[:2]
    scale = min(_SIDE / max(height, width), 1.0)
    # DIS needs two patches in each direction.
    size = max(round(width * scale), 2 * _SMALLEST), max(round(height * scale), 2 * _SMALLEST)
    return np.asarray(cv2.cvtColor(cv2.resize(image, size), cv2.COLOR_BGR2GRAY), np.uint8)


def _motion(box: Box, flow: NDArray[np.float32], change: NDArray[np.uint8], scale: float) -> Motion | None:
    """The median flow of a box's core."""
    left, top, right, bottom = box
    small = (left / scale, top / scale, right / scale, bottom / scale)
    height, width = change.shape
    left, top, right, bottom = _inner(small, _CORE, width, height)
    if min(right - left, bottom - top) < _SMALLEST:
        return None
    step = max(min(right - left, bottom - top) // _SMALLEST, 1)
    core = np.s_[top:bottom:step, left:right:step]
    middle = change[core].size // 2
    if np.sort(change[core], axis=None)[middle] > _CHANGED:  # a tenth of the time of `median`
        return None
    across, down = np.sort(flow[core].reshape(-1, 2), axis=0)[middle] * scale
    return float(across), float(down)


@functools.lru_cache(maxsize=4)
def _places(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Column and row of each pixel: shape (height, width)."""
    rows, columns = np.indices((height, width), np.float32)
    return columns, rows


def _hidden(boxes: Sequence[Box]) -> set[int]:
    """The places of the boxes with another in front: cameras look down, so what reaches further down is nearer."""
    pairs, edges = overlaps(boxes, boxes), np.array(boxes)
    behind, front = edges[pairs.rows], edges[pairs.columns]
    lower, larger = front[:, 3] > behind[:, 3], box_areas(front) >= _BEHIND * box_areas(behind)
    return set(pairs.rows[lower & ~larger & (pairs.covered > _HIDES)].tolist())


def _inner(box: Box, margin: float, width: int, height: int) -> tuple[int, int, int, int]:
    """A box without its margin, in whole pixels of a picture of that size; at least one of them."""
    left, top, right, bottom = box
    across, down = (right - left) * margin, (bottom - top) * margin
    first, above = min(max(int(left + across), 0), width - 1), min(max(int(top + down), 0), height - 1)
    last, below = min(int(right - across), width), min(int(bottom - down), height)
    return first, above, max(last, first + 1), max(below, above + 1)
