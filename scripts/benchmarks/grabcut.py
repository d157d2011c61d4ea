"""GrabCut: a mask from a box without a network.

Source: Rother, Kolmogorov and Blake, "GrabCut: interactive foreground extraction using iterated graph cuts", 2004.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import Box
from streamseg.masks import Bits, Mask
from streamseg.messages import Image

_MARGIN = 0.15
"""Share of the box's sides added around it as background."""
_LONGEST_SIDE = 160
"""Pixels to which the region is reduced: the graph cut's time grows faster than its area."""
_CORE = 0.6
"""Axes of the ellipse in the box's middle that starts as object, as a share of the box's sides."""
_ITERATIONS = 1
"""More iterations take time and, measured on true boxes, do not improve the masks."""
_SMALLEST_PART = 0.2
"""Separate parts smaller than this share of the largest are dropped."""


def grabcut(image: Image, box: Box) -> Mask | None:
    """Segment the object in a box from colour alone.

    Args:
        image: Shape (height, width, 3), uint8, BGR.
        box: In pixels of the frame.

    Returns:
        None for a box outside the frame, without background around it, or too small for an object.
    """
    margin_x, margin_y = _MARGIN * (box[2] - box[0]), _MARGIN * (box[3] - box[1])
    left, top = max(0, math.floor(box[0] - margin_x)), max(0, math.floor(box[1] - margin_y))
    right, bottom = min(image.shape[1], math.ceil(box[2] + margin_x)), min(image.shape[0], math.ceil(box[3] + margin_y))
    if left >= right or top >= bottom:
        return None
    region = image[top:bottom, left:right]
    scale = min(1.0, _LONGEST_SIDE / max(region.shape[:2]))
    width, height = (max(1, round(side * scale)) for side in (right - left, bottom - top))
    scale_x, scale_y = width / (right - left), height / (bottom - top)
    labels = _initial_labels(
        (round((box[0] - left) * scale_x), round((box[2] - left) * scale_x)),
        (round((box[1] - top) * scale_y), round((box[3] - top) * scale_y)),
        height,
        width,
    )
    if not (labels == cv2.GC_BGD).any() or not (labels == cv2.GC_FGD).any():
        return None
    small = cv2.resize(region, (width, height), interpolation=cv2.INTER_AREA)
    cv2.setRNGSeed(0)  # the colour clusters start at random points
    cv2.grabCut(small, labels, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), _ITERATIONS, cv2.GC_INIT_WITH_MASK)
    parts = _large_parts((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.float32)
    return Mask.crop(cv2.resize(parts, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR) > 0.5, left, top)


def _initial_labels(columns: tuple[int, int], rows: tuple[int, int], height: int, width: int) -> NDArray[np.uint8]:
    """Label the reduced region: background outside the box, object in its middle, the rest undecided."""
    (left, right), (top, bottom) = columns, rows
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
