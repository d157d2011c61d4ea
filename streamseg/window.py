"""The square window around an object: cropping it from a frame, and pasting masks back.

Column `i` of pixels spans `i` to `i + 1`, as in boxes. A window has whole-pixel edges and is resized to a square of
`side` pixels, so a point `x` of the frame lies exactly at `(x - left) / width * side` of the square.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import Box, box_area, clip_box, intersection
from streamseg.masks import Mask
from streamseg.messages import Image

MARGIN: Final = 0.2
"""Margin on each side of the box, as a share of the box's side."""
_LONGEST_RATIO = 2.0
"""Aspect ratio up to which a window is stretched to a square; a longer box gets a larger margin."""
_SMALLEST_SIDE = 8
"""Smallest side of a window, in pixels."""
_LARGEST_STEP = 2.4
"""Largest reduction by linear interpolation that still averages nearly every pixel."""
_GREY = 127
"""Value of pixels outside the frame."""
_POINT_SPREAD = 1 / 24
"""Standard deviation of the Gaussian that marks a point, as a share of the square's side."""

Plane = NDArray[np.float32]
Point = tuple[float, float]
"""x and y in pixels of the frame."""


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of whole pixels, right and bottom exclusive. It may extend beyond the frame."""

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
        """The part inside a frame of that size."""
        return Window(max(self.left, 0), max(self.top, 0), min(self.right, width), min(self.bottom, height))

    def share_of(self, box: Box, width: int, height: int) -> float:
        """Share of the window that the box covers inside a frame of that size, 0 to 1."""
        shown = self.within(width, height)
        edges = (float(shown.left), float(shown.top), float(shown.right), float(shown.bottom))
        return box_area(intersection(box, edges)) / (self.width * self.height)


def window_around(box: Box, width: int, height: int) -> Window | None:
    """The window around the part of a box inside a frame of that size; None for a box outside it."""
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
    """Crop a window and resize it to `side` x `side`; grey outside the frame.

    Args:
        image: Shape (height, width, channels) or (height, width), uint8.
        window: Of that image.
        side: Of the square, in pixels.
    """
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
        # Reduce in two steps: a third of the time, and nearly every pixel still counts.
        inside = np.asarray(cv2.resize(inside, (between, between), interpolation=cv2.INTER_LINEAR), np.uint8)
    return np.asarray(_resize(inside, side), np.uint8)


def box_plane(box: Box, window: Window, side: int) -> Plane:
    """Share of each pixel of the square that the box covers: shape (side, side), 0 to 1."""
    columns = _covered((box[0] - window.left) / window.width, (box[2] - window.left) / window.width, side)
    rows = _covered((box[1] - window.top) / window.height, (box[3] - window.top) / window.height, side)
    return rows[:, None] * columns[None, :]


def point_plane(points: Iterable[Point], window: Window, side: int) -> Plane:
    """A Gaussian at each point: shape (side, side), 0 to 1; of several, each pixel has the highest."""
    plane = np.zeros((side, side), np.float32)
    for x, y in points:
        row, column = _bell((y - window.top) / window.height, side), _bell((x - window.left) / window.width, side)
        np.maximum(plane, row[:, None] * column[None, :], out=plane)
    return plane


def mask_plane(mask: Mask, window: Window, side: int) -> Plane:
    """Share of each pixel of the square that the mask covers: shape (side, side), 0 to 1."""
    return seen_plane(mask.bits, mask.x, mask.y, window, side)


def seen_plane(shares: NDArray[np.generic], x: int, y: int, window: Window, side: int) -> Plane:
    """Crop a window from a plane that starts at a pixel of the frame and is zero beyond its edges: shape (side, side).

    Args:
        shares: Shape (height, width), 0 to 1.
        x: Column of the frame at which it starts.
        y: Row of the frame at which it starts.
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
    """The mask of a frame of that size where the logits, of shape (side, side), are positive; None if none are."""
    full = cv2.resize(logits, (window.width, window.height), interpolation=cv2.INTER_LINEAR) > 0
    left, top = max(window.left, 0), max(window.top, 0)
    inside = full[top - window.top : max(height - window.top, 0), left - window.left : max(width - window.left, 0)]
    return Mask.crop(inside, left, top)


def _halvings(window: Window, side: int) -> int:
    """How often to double the square for an intermediate size; the last reduction is then about by half."""
    longer, shorter = max(window.width, window.height) / side, min(window.width, window.height) / side
    return (
        0 if shorter < 1 else min(math.floor(math.log2(shorter)), max(math.ceil(math.log2(longer / _LARGEST_STEP)), 0))
    )


def _resize(pixels: NDArray[np.uint8] | Plane, side: int) -> NDArray[np.integer[Any] | np.floating[Any]]:
    shrinks = pixels.shape[0] >= side and pixels.shape[1] >= side
    return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _bell(middle: float, side: int) -> Plane:
    """A Gaussian along a side, around a place in shares of it."""
    distances = ((np.arange(side) + 0.5) / side - middle) / _POINT_SPREAD
    return np.exp(-(distances**2) / 2).astype(np.float32)


def _covered(first: float, last: float, side: int) -> Plane:
    """Share of each of `side` equal parts of 0 to 1 that the interval covers."""
    edges = np.arange(side + 1, dtype=np.float64)
    covered = np.minimum(edges[1:], last * side) - np.maximum(edges[:-1], first * side)
    return np.asarray(np.maximum(covered, 0), np.float32)
