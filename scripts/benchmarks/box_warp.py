"""The rival that moves a mask with its box alone."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import Box
from streamseg.masks import Mask

_SMALLEST = 1e-6  # pixels; below, divisions by the scale overflow


def carry(mask: Mask, from_box: Box, to_box: Box, width: int, height: int) -> Mask | None:
    """Move a mask with its object's box: by the translation and scale that take one box to the other.

    Each pixel of the new mask is the pixel of the old one that lies under its centre (nearest neighbour).

    Args:
        mask: The mask on the segmented frame; it may leave `from_box`.
        from_box: The object's box on the segmented frame, in pixels.
        to_box: The object's box on the newer frame.
        width: Of the newer frame, in pixels.
        height: Of the newer frame, in pixels.

    Returns:
        The mask on the newer frame, cut at its edges; None where a box has no area or no pixel is left inside the frame.
    """
    columns = _sources(mask.x, mask.width, (from_box[0], from_box[2]), (to_box[0], to_box[2]), width)
    rows = _sources(mask.y, mask.height, (from_box[1], from_box[3]), (to_box[1], to_box[3]), height)
    if columns is None or rows is None:
        return None
    (left, picked_columns), (top, picked_rows) = columns, rows
    return Mask.crop(mask.bits[picked_rows].take(picked_columns, axis=1), left, top)


def _sources(
    start: int, length: int, origin: tuple[float, float], target: tuple[float, float], limit: int
) -> tuple[int, NDArray[np.intp]] | None:
    """Along one axis: the first pixel of the moved interval inside [0, limit), and for each of its pixels the index it is taken from."""
    scale = (target[1] - target[0]) / (origin[1] - origin[0]) if origin[1] > origin[0] else 0.0
    first, last = target[0] + (start - origin[0]) * scale, target[0] + (start + length - origin[0]) * scale
    if not (scale > 0 and math.isfinite(first) and math.isfinite(last) and last - first > _SMALLEST):
        return None
    begin, end = max(math.floor(first), 0), min(math.ceil(last), limit)
    if begin >= end:
        return None
    centres = np.arange(begin, end) + 0.5
    indices = np.floor((centres - first) / scale)
    inside = np.flatnonzero((indices >= 0) & (indices < length))
    if inside.size == 0:
        return None
    return begin + int(inside[0]), indices[inside].astype(np.intp)
