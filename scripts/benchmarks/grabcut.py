"""GrabCut: what masks from boxes can be had without a network.

Source: Rother, Kolmogorov and Blake, "GrabCut: interactive foreground extraction using iterated graph cuts", 2004, as in OpenCV.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import Box
from streamseg.masks import Bits, Mask
from streamseg.messages import Detection, Image, ObjectMask

_MARGIN = 0.15
"""Share of the box's sides added around it, so that there is background to learn from."""
_LONGEST_SIDE = 160
"""Pixels to which the region is reduced: the graph cut's time grows faster than its area."""
_CORE = 0.6
"""Axes of the ellipse in the box's middle that is taken as the object, as a share of the box's sides."""
_ITERATIONS = 1
"""More iterations cost time and, measured on true boxes, do not make better masks."""
_SMALLEST_PART = 0.2
"""Share of the largest part below which a separate part of the mask is dropped."""


@dataclass(frozen=True, slots=True)
class _Region:
    """The part of the frame around a box: whole pixels, right and bottom exclusive."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """GrabCut's embedding is the frame itself: shape (height, width, 3), uint8, BGR."""

    image: Image


class GrabCut:
    """Draws the mask of the object in each box from colour alone; the same frame and box always give the same mask."""

    name = "grabcut"

    def encode(self, image: Image) -> Picture:
        """Remember a frame of shape (height, width, 3), uint8, BGR; it is not copied and must not change before `decode`."""
        return Picture(image)

    def decode(self, embedding: Picture, detections: Sequence[Detection]) -> list[ObjectMask]:
        """One answer for each detection; None where the box leaves no background or holds no object."""
        masks = [_segment(embedding.image, detection.xyxy) for detection in detections]
        return [ObjectMask(mask) for mask in masks]

    def describe(self) -> str:
        """Return the name."""
        return self.name


def _segment(image: Image, box: Box) -> Mask | None:
    region = _region_around(box, width=image.shape[1], height=image.shape[0])
    if region is None:
        return None
    crop = image[region.top : region.bottom, region.left : region.right]
    scale = min(1.0, _LONGEST_SIDE / max(crop.shape[:2]))
    size = (max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale)))
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    labels = _first_guess(box, region, size)
    if (labels == cv2.GC_BGD).sum() == 0 or (labels == cv2.GC_FGD).sum() == 0:
        return None
    cv2.setRNGSeed(0)  # the colour clusters start at random points
    cv2.grabCut(small, labels, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), _ITERATIONS, cv2.GC_INIT_WITH_MASK)
    parts = _large_parts((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))
    full = cv2.resize(parts.astype(np.float32), (crop.shape[1], crop.shape[0]), interpolation=cv2.INTER_LINEAR) > 0.5
    return Mask.crop(full, region.left, region.top)


def _region_around(box: Box, width: int, height: int) -> _Region | None:
    """The box with its margin, cut at the frame's edges; None for a box outside the frame."""
    margin_x, margin_y = _MARGIN * (box[2] - box[0]), _MARGIN * (box[3] - box[1])
    left, top = max(0, math.floor(box[0] - margin_x)), max(0, math.floor(box[1] - margin_y))
    right, bottom = min(width, math.ceil(box[2] + margin_x)), min(height, math.ceil(box[3] + margin_y))
    return _Region(left, top, right, bottom) if left < right and top < bottom else None


def _first_guess(box: Box, region: _Region, size: tuple[int, int]) -> NDArray[np.uint8]:
    """GrabCut's labels over the reduced region: outside the box background, its middle object, the rest to be found out."""
    width, height = size
    scale_x, scale_y = width / (region.right - region.left), height / (region.bottom - region.top)
    left, right = (round((edge - region.left) * scale_x) for edge in (box[0], box[2]))
    top, bottom = (round((edge - region.top) * scale_y) for edge in (box[1], box[3]))
    labels = np.full((height, width), cv2.GC_BGD, np.uint8)
    labels[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = cv2.GC_PR_FGD
    middle = ((left + right - 1) / 2, (top + bottom - 1) / 2)
    cv2.ellipse(labels, (middle, (_CORE * (right - left), _CORE * (bottom - top)), 0.0), cv2.GC_FGD, cv2.FILLED)
    return labels


def _large_parts(mask: Bits) -> Bits:
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = statistics[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return np.asarray((areas >= max(1.0, _SMALLEST_PART * areas.max()))[labels])
