"""What a frame shows of an object, and how that moved from one frame to the next.

Both pictures are squares around the object's box, or around where that was foreseen, so that motion and scale of the box are taken out
beforehand: what is left for flow to find is small, whatever the object's speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import Box
from streamseg.messages import Image
from streamseg.propagate.planes import FLOW_SIDE, resized
from streamseg.window import Plane, Window, crop, window_around

_SEARCHED = 5 / 6
"""Side in which it is searched for, as a share of the square's: a little less loses nothing that is seen."""
_BESIDE = 0.1
"""How far two windows that are nearly the same may lie beside each other, as a share of their sides: a little less than their margin."""

Motion = tuple[float, float]
"""To the right and down, in pixels of the frame."""

Flow = NDArray[np.float32]
"""Shape (n, FLOW_SIDE, FLOW_SIDE, 2): where each place of n squares was before, x and y, as a displacement in sides of the square."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """An object's square in one frame.

    Attributes:
        box: The object's box, in pixels of the frame.
        window: What the square shows of the frame.
        placed: The window of the box. It is another one where the box was looked for elsewhere.
        frame: Width and height of the frame.
        picture: Shape (side, side, 3), uint8, BGR.
        grey: The same for the search of flow: shape (5 / 6 side, 5 / 6 side), uint8.
    """

    box: Box
    window: Window
    placed: Window
    frame: tuple[int, int]
    picture: Image
    grey: NDArray[np.uint8]

    @property
    def side(self) -> int:
        """Of the square, in pixels."""
        return int(self.picture.shape[0])

    @property
    def shown(self) -> Window:
        """The part of the window that lies in the frame."""
        return self.window.within(*self.frame)

    def settled(self, box: Box) -> Look:
        """The same look at an object whose box turns out to be that one."""
        return replace(self, box=box, placed=window_around(box, *self.frame) or self.window)


def alike(one: Box, other: Box, width: int, height: int) -> bool:
    """Whether the windows of two boxes in a frame of that size are nearly the same."""
    window, beside = window_around(one, width, height), window_around(other, width, height)
    if window is None or beside is None:
        return False
    across = max(abs(window.left - beside.left), abs(window.right - beside.right))
    down = max(abs(window.top - beside.top), abs(window.bottom - beside.bottom))
    return across <= _BESIDE * window.width and down <= _BESIDE * window.height


def look(image: Image, boxes: Sequence[Box], side: int) -> list[Look | None]:
    """Look at boxes of a frame of shape (height, width, 3), uint8, BGR; None for one that lies outside."""
    height, width = image.shape[:2]
    windows = [window_around(box, width, height) for box in boxes]
    pictures = [crop(image, window, side) for window in windows if window is not None]
    if not pictures:
        return [None for _ in boxes]
    # One above the other: cells of the smaller squares lie within those of the larger, so that no row is mixed with another square's.
    together = cv2.cvtColor(np.concatenate(pictures), cv2.COLOR_BGR2GRAY)
    searched = round(side * _SEARCHED)
    greys = cv2.resize(together, (searched, searched * len(pictures)), interpolation=cv2.INTER_LINEAR)
    squares = zip(pictures, np.asarray(greys, np.uint8).reshape(-1, searched, searched), strict=True)
    return [
        None if window is None else Look(box, window, window, (width, height), *next(squares))
        for box, window in zip(boxes, windows, strict=True)
    ]


class FlowFinder:
    """Dense flow between two looks at an object (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016)."""

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._search.setPatchStride(3)  # closer than usual: so limbs are seen
        self._search.setGradientDescentIterations(8)  # more find nothing new
        self._search.setFinestScale(1)  # half the square's resolution shows outlines that a quarter blurs

    def between(self, before: Sequence[Look], after: Sequence[Look], ahead: Sequence[Motion | None]) -> Flow:
        """Where each place of each of n looks was in an earlier one.

        Args:
            before: The earlier looks.
            after: The n looks, all of one side.
            ahead: How far each object is expected to have come, where the search begins; None: as far as its window.
        """
        if not after:
            return np.empty((0, FLOW_SIDE, FLOW_SIDE, 2), np.float32)
        found = [self._search_for(*looks) for looks in zip(before, after, ahead, strict=True)]
        return resized(found, FLOW_SIDE) * np.float32(1 / after[0].grey.shape[0])

    def _search_for(self, before: Look, after: Look, ahead: Motion | None) -> Flow:
        side = after.grey.shape[0]
        earlier = before.grey if before.grey.shape == after.grey.shape else cv2.resize(before.grey, (side, side))
        # Something is always expected: the search crashes where it was, and then is not, with larger squares; and on what is no number.
        expected: Flow = np.zeros((side, side, 2), np.float32)
        if ahead is not None and np.isfinite(ahead).all():
            expected = expected_flow(before.window, after.window, ahead, side) * np.float32(side)
        return np.asarray(self._search.calc(after.grey, earlier, expected), np.float32)


def expected_flow(before: Window, after: Window, motion: Motion, side: int) -> Flow:
    """The flow between two windows of what comes that far, in sides of the square: shape (side, side, 2)."""
    along = (np.arange(side, dtype=np.float32) + np.float32(0.5)) / np.float32(side)
    expected = np.empty((side, side, 2), np.float32)
    expected[..., 0] = (after.left - before.left - motion[0]) / before.width + along * (after.width / before.width - 1)
    expected[..., 1] = (
        (after.top - before.top - motion[1]) / before.height + along * (after.height / before.height - 1)
    )[:, None]
    return expected


def moved_into(after: Window, before: Window, planes: Plane, border: int = cv2.BORDER_CONSTANT) -> Plane:
    """What a square of one window shows, in the square of another one of the same frame: shape (side, side), or (side, side, any)."""
    if after == before:
        return planes
    side = planes.shape[0]
    across, down = after.width / before.width, after.height / before.height
    right, below = (after.left - before.left) / before.width, (after.top - before.top) / before.height
    way = np.array([[across, 0, side * right + (across - 1) / 2], [0, down, side * below + (down - 1) / 2]])
    moved = cv2.warpAffine(planes, way, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=border)
    return np.asarray(moved, np.float32)
