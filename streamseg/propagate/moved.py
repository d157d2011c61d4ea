"""Masks moved and scaled with the boxes of their objects: the cheap way to a newer frame, without its pixels."""

from __future__ import annotations

import cv2
import numpy as np

from streamseg.geometry import Box
from streamseg.masks import Mask


def moved_mask(mask: Mask, before: Box, after: Box, width: int, height: int) -> Mask | None:
    """Move a mask as its object's box moved; None if nothing of it is inside the frame.

    Args:
        mask: Of a frame in which the box was `before`.
        before: In pixels.
        after: In the newer frame.
        width: Of that frame, in pixels.
        height: Of that frame, in pixels.
    """
    across, down = _side(after, 0) / _side(before, 0), _side(after, 1) / _side(before, 1)
    x, y = after[0] + (mask.x - before[0]) * across, after[1] + (mask.y - before[1]) * down
    left, top = round(x), round(y)
    right, bottom = left + max(round(mask.width * across), 1), top + max(round(mask.height * down), 1)
    inside = left >= 0 and top >= 0 and right <= width and bottom <= height
    if inside and (right - left, bottom - top) == (mask.width, mask.height):
        return Mask(left, top, mask.bits)
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if left >= right or top >= bottom:
        return None
    # From the middle of a pixel of the newer frame to the pixel of the mask there.
    back = np.array(((1 / across, 0, (left + 0.5 - x) / across - 0.5), (0, 1 / down, (top + 0.5 - y) / down - 0.5)))
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    bits = cv2.warpAffine(mask.bits.view(np.uint8), back, (right - left, bottom - top), flags=flags)
    return Mask.crop(np.asarray(bits, np.uint8).view(np.bool_), left, top)


def _side(box: Box, axis: int) -> float:
    return max(box[axis + 2] - box[axis], 1.0)
