"""Points on objects and beside them, as people set them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.masks import Bits, Mask
from streamseg.window import Point, Window

_COARSE = 64
"""Longer side in pixels to which a mask is thinned before a random point is drawn on it."""
_TRIES = 8
_CLEAR = 3
"""Pixels between an object and a point that is clearly beside it."""


def middle(mask: Mask) -> Point:
    """The point of an object that is farthest from its outline; of several, one between the others."""
    depths = _depths(mask.bits)
    deepest = np.argwhere(depths >= depths.max() - 0.5)
    row, column = deepest[((deepest - deepest.mean(axis=0)) ** 2).sum(axis=1).argmin()].tolist()
    return mask.x + column + 0.5, mask.y + row + 0.5


def on_object(mask: Mask, rng: np.random.Generator) -> Point:
    """A random point on an object, more often in its middle than near its outline."""
    step = -(-max(mask.width, mask.height) // _COARSE)
    bits = mask.bits[::step, ::step]
    if not bits.any():
        bits, step = mask.bits, 1
    depths = _depths(bits)
    rows, columns = np.nonzero(depths >= max(rng.random() * depths.max(), 0.5))
    place = int(rng.integers(len(rows)))
    return mask.x + float(columns[place]) * step + 0.5, mask.y + float(rows[place]) * step + 0.5


def beside_object(covered: NDArray[np.uint8], around: Window, rng: np.random.Generator) -> Point | None:
    """A random point of a window that is clearly not on an object; None if none is found.

    Args:
        covered: Shape (height, width): above zero on the object.
        around: The window; only its part within `covered` counts.
        rng: Random generator.
    """
    shown = around.within(covered.shape[1], covered.shape[0])
    for x, y in rng.uniform((shown.left, shown.top), (shown.right, shown.bottom), (_TRIES, 2)):
        column, row = int(x), int(y)
        if not covered[max(row - _CLEAR, 0) : row + _CLEAR + 1, max(column - _CLEAR, 0) : column + _CLEAR + 1].any():
            return float(x), float(y)
    return None


def _depths(bits: Bits) -> NDArray[np.float32]:
    """Distance of each pixel from the outline, in pixels: the same shape."""
    padded = cv2.copyMakeBorder(bits.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)[1:-1, 1:-1]
