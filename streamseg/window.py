"""The square in which an object is looked at, and the way back from it to the frame.

A pixel is the unit square around its centre: column `i` spans `i` to `i + 1`, as in boxes. Windows have whole-pixel edges, so that
resizing between a window and its square is exact: the point `x` of the frame lies at `(x - left) / width * side`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import Box, box_area, clip_box, intersection
from streamseg.masks import Mask
from streamseg.messages import Image

MARGIN: Final = 0.2
"""Share of the box's sides that is shown around it on each side."""
_LONGEST_RATIO = 2.0
"""A box longer than this is given more surroundings rather than being stretched further."""
_SMALLEST_SIDE = 8
"""Of a window, in pixels."""
_LARGEST_STEP = 2.4
"""Of a reduction that looks at neighbouring pixels only."""
_GREY = 127
"""What lies outside the frame."""

Plane = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of whole pixels, right and bottom exclusive; it may leave the frame."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """In pixels of the frame."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """In pixels of the frame."""
        return self.bottom - self.top

    def within(self, width: int, height: int) -> Window:
        """The part of it that lies in a frame of that size."""
        return Window(max(self.left, 0), max(self.top, 0), min(self.right, width), min(self.bottom, height))

    def share_of(self, box: Box, width: int, height: int) -> float:
        """How much of it the box covers, of the part of the box that lies in a frame of that size: 0 to 1."""
        shown = self.within(width, height)
        edges = (float(shown.left), float(shown.top), float(shown.right), float(shown.bottom))
        return box_area(intersection(box, edges)) / (self.width * self.height)


def window_around(box: Box, width: int, height: int) -> Window | None:
    """The window of a box, of the part of it that lies in a frame of that size; None for a box that lies outside."""
    clipped = clip_box(box, width, height)
    if clipped is None:
        return None
    left, top, right, bottom = clipped
    wide, high = (right - left) * (1 + 2 * MARGIN), (bottom - top) * (1 + 2 * MARGIN)
    wide, high = max(wide, high / _LONGEST_RATIO, _SMALLEST_SIDE), max(high, wide / _LONGEST_RATIO, _SMALLEST_SIDE)
    centre_x, centre_y = (left + right) / 2, (top + bottom) / 2
    return Window(
        math.floor(centre_x - wide / 2),
        math.floor(centre_y - high / 2),
        math.ceil(centre_x + wide / 2),
        math.ceil(centre_y + high / 2),
    )


def crop(image: Image, window: Window, side: int) -> Image:
    """What a window shows of a frame of shape (height, width, channels), or (height, width): `side` x `side`, grey outside."""
    height, width = image.shape[:2]
    shown = window.within(width, height)
    inside = image[shown.top : shown.bottom, shown.left : shown.right]
    if shown != window:
        border = (
            shown.top - window.top,
            window.bottom - shown.bottom,
            shown.left - window.left,
            window.right - shown.right,
        )
        inside = np.asarray(
            cv2.copyMakeBorder(inside, *border, cv2.BORDER_CONSTANT, value=(_GREY, _GREY, _GREY)), np.uint8
        )
    between = side << _halvings(window, side)
    if between > side:
        # By way of a multiple of the square, which takes a third of the time and averages nearly every pixel too.
        inside = np.asarray(cv2.resize(inside, (between, between), interpolation=cv2.INTER_LINEAR), np.uint8)
    return np.asarray(_resize(inside, side), np.uint8)


def box_plane(box: Box, window: Window, side: int) -> Plane:
    """How much of each pixel of the square the box covers: shape (side, side), 0 to 1."""
    columns = _covered((box[0] - window.left) / window.width, (box[2] - window.left) / window.width, side)
    rows = _covered((box[1] - window.top) / window.height, (box[3] - window.top) / window.height, side)
    return rows[:, None] * columns[None, :]


def mask_plane(mask: Mask, window: Window, side: int) -> Plane:
    """How much of each pixel of the square a mask of the frame covers: shape (side, side), 0 to 1."""
    return seen_plane(mask.bits, mask.x, mask.y, window, side)


def seen_plane(shares: NDArray[np.generic], x: int, y: int, window: Window, side: int) -> Plane:
    """What a window shows of a plane that begins at a pixel of the frame and is zero all around: shape (side, side).

    Args:
        shares: Shape (height, width), 0 to 1.
        x: Its first column.
        y: Its first row.
        window: Of the frame.
        side: Of the square, in pixels.
    """
    full = np.zeros((window.height, window.width), np.float32)
    left, top = max(x, window.left), max(y, window.top)
    right, bottom = min(x + shares.shape[1], window.right), min(y + shares.shape[0], window.bottom)
    if left < right and top < bottom:
        full[top - window.top : bottom - window.top, left - window.left : right - window.left] = shares[
            top - y : bottom - y, left - x : right - x
        ]
    return np.asarray(_resize(full, side), np.float32)


def paste(logits: Plane, window: Window, width: int, height: int) -> Mask | None:
    """The mask in a frame of that size where an answer of shape (side, side) is above zero; None where it is nowhere."""
    full = cv2.resize(logits, (window.width, window.height), interpolation=cv2.INTER_LINEAR) > 0
    left, top = max(window.left, 0), max(window.top, 0)
    inside = full[top - window.top : max(height - window.top, 0), left - window.left : max(width - window.left, 0)]
    return Mask.crop(inside, left, top)


def _halvings(window: Window, side: int) -> int:
    """How often the square can be doubled before a window is reduced to it, none of its sides by much more than half."""
    longer, shorter = max(window.width, window.height) / side, min(window.width, window.height) / side
    return (
        0 if shorter < 1 else min(math.floor(math.log2(shorter)), max(math.ceil(math.log2(longer / _LARGEST_STEP)), 0))
    )


def _resize(pixels: NDArray[np.uint8] | Plane, side: int) -> NDArray[np.integer[Any] | np.floating[Any]]:
    shrinks = pixels.shape[0] >= side and pixels.shape[1] >= side
    return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _covered(first: float, last: float, side: int) -> Plane:
    """The share of each of `side` equal parts of 0 to 1 that the interval covers."""
    edges = np.arange(side + 1, dtype=np.float64)
    covered = np.minimum(edges[1:], last * side) - np.maximum(edges[:-1], first * side)
    return np.asarray(np.maximum(covered, 0), np.float32)
