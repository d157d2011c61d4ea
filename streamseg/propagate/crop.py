"""Square crops around objects, stacks of such squares, and the optical flow between two crops of an object.

A crop lies around the object's box, measured or predicted. That takes out the motion and scale of the box: what is left
for flow to find is small, whatever the object's speed.

A stack of squares has the shape (n, side, side) or (n, side, side, planes). One call processes all objects
of a frame: at this size a call costs more than its arithmetic.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import Box
from streamseg.messages import Image
from streamseg.window import Plane, Window, crop, window_around

FLOW_SIDE: Final = 40
"""Cells along a side of the square in which flow is kept: as few as cost no IoU. Sides of crops are multiples of it."""
CELL_CENTRES: Final[Plane] = (np.arange(FLOW_SIDE, dtype=np.float32) + np.float32(0.5)) / np.float32(FLOW_SIDE)
"""Centres of the cells along a side, as shares of the side."""
_SEARCHED = 5 / 6
"""Side of the square in which flow is searched, as a share of the crop's: it saves time and costs no IoU."""
_SIMILAR = 0.1
"""Distance of the edges of similar windows, as a share of their sides: less than the margin around a box."""

Motion = tuple[float, float]
"""To the right and down, in pixels of the frame."""
Flow = NDArray[np.float32]
"""Shape (n, FLOW_SIDE, FLOW_SIDE, 2): the displacement along x and y, as a share of the side, from each cell of a crop
to where its content was in the crop before."""

_Pixels = TypeVar("_Pixels", Plane, NDArray[np.uint8])


@dataclass(frozen=True, slots=True, eq=False)
class ObjectCrop:
    """The square around an object in one frame.

    Attributes:
        box: The object's box, in pixels of the frame.
        window: The part of the frame that the square shows.
        box_window: The window around the box. It differs from `window` if the crop was made around a predicted box.
        frame_size: Width and height of the frame.
        picture: Shape (side, side, 3), uint8, BGR.
        grey: The same for the search of flow: shape (5 / 6 side, 5 / 6 side), uint8.
    """

    box: Box
    window: Window
    box_window: Window
    frame_size: tuple[int, int]
    picture: Image
    grey: NDArray[np.uint8]

    @property
    def side(self) -> int:
        """Side of the square in pixels."""
        return int(self.picture.shape[0])

    @property
    def visible(self) -> Window:
        """The part of the window inside the frame."""
        return self.window.within(*self.frame_size)

    def with_box(self, box: Box) -> ObjectCrop:
        """The same pixels, for another box of the object."""
        return replace(self, box=box, box_window=window_around(box, *self.frame_size) or self.window)


def crop_objects(image: Image, boxes: Sequence[Box], side: int) -> list[ObjectCrop | None]:
    """Crop the squares around boxes, resized to `side`; None for a box outside the frame.

    Args:
        image: The frame, shape (height, width, 3), uint8, BGR.
        boxes: In pixels of the frame.
        side: Of each square.
    """
    height, width = image.shape[:2]
    windows = [window_around(box, width, height) for box in boxes]
    inside = [place for place, window in enumerate(windows) if window is not None]
    crops: list[ObjectCrop | None] = [None] * len(boxes)
    if not inside:
        return crops
    pictures = [crop(image, window, side) for window in windows if window is not None]
    # One above the other: the cells of smaller squares lie within those of the larger ones, so that squares do not mix.
    tall = cv2.cvtColor(np.concatenate(pictures), cv2.COLOR_BGR2GRAY)
    searched = round(side * _SEARCHED)
    greys = np.asarray(cv2.resize(tall, (searched, searched * len(inside)), interpolation=cv2.INTER_LINEAR), np.uint8)
    for row, place in enumerate(inside):
        window = windows[place]
        assert window is not None
        grey = greys[row * searched : (row + 1) * searched]
        crops[place] = ObjectCrop(boxes[place], window, window, (width, height), pictures[row], grey)
    return crops


def similar_windows(first: Box, second: Box, width: int, height: int) -> bool:
    """Whether the windows of two boxes are nearly the same, in a frame of that size."""
    one, other = window_around(first, width, height), window_around(second, width, height)
    if one is None or other is None:
        return False
    across = max(abs(one.left - other.left), abs(one.right - other.right))
    down = max(abs(one.top - other.top), abs(one.bottom - other.bottom))
    return across <= _SIMILAR * one.width and down <= _SIMILAR * one.height


class FlowFinder:
    """Dense flow between two crops (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016)."""

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._search.setPatchStride(3)  # closer than the preset's 4: finds limbs
        self._search.setGradientDescentIterations(8)  # more find nothing new
        self._search.setFinestScale(1)  # half of the resolution shows outlines that a quarter blurs

    def between(
        self, before: Sequence[ObjectCrop], after: Sequence[ObjectCrop], guess: Sequence[Motion | None]
    ) -> Flow:
        """Find where the content of n crops was in earlier ones.

        Args:
            before: The earlier crops.
            after: The n newer ones, all of one side.
            guess: How far each object is expected to have moved: the search begins there. None: as far as its window.
        """
        if not after:
            return np.empty((0, FLOW_SIDE, FLOW_SIDE, 2), np.float32)
        found = [self._find(*crops) for crops in zip(before, after, guess, strict=True)]
        return resized(found, FLOW_SIDE) * np.float32(1 / after[0].grey.shape[0])

    def _find(self, before: ObjectCrop, after: ObjectCrop, guess: Motion | None) -> Flow:
        side = after.grey.shape[0]
        earlier = before.grey if before.grey.shape == after.grey.shape else cv2.resize(before.grey, (side, side))
        # DIS crashes if it gets a first flow, and later none, with larger squares; and on a flow that is not finite.
        first: Flow = np.zeros((side, side, 2), np.float32)
        if guess is not None and np.isfinite(guess).all():
            first = window_flow(before.window, after.window, guess, side) * np.float32(side)
        return np.asarray(self._search.calc(after.grey, earlier, first), np.float32)


def window_flow(before: Window, after: Window, motion: Motion, side: int) -> Flow:
    """The flow between two windows of an object that moves so far, as a share of the side: shape (side, side, 2)."""
    along = (np.arange(side, dtype=np.float32) + np.float32(0.5)) / np.float32(side)
    flow = np.empty((side, side, 2), np.float32)
    flow[..., 0] = (after.left - before.left - motion[0]) / before.width + along * (after.width / before.width - 1)
    flow[..., 1] = ((after.top - before.top - motion[1]) / before.height + along * (after.height / before.height - 1))[
        :, None
    ]
    return flow


def rewindowed(after: Window, before: Window, planes: Plane, border: int = cv2.BORDER_CONSTANT) -> Plane:
    """Move a square from one window of a frame into another: shape (side, side), or (side, side, any)."""
    if after == before:
        return planes
    side = planes.shape[0]
    across, down = after.width / before.width, after.height / before.height
    right, below = (after.left - before.left) / before.width, (after.top - before.top) / before.height
    matrix = np.array([[across, 0, side * right + (across - 1) / 2], [0, down, side * below + (down - 1) / 2]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(planes, matrix, (side, side), flags=flags, borderMode=border), np.float32)


def sampled(
    planes: Sequence[_Pixels] | _Pixels, x: Plane, y: Plane, of_side: int, border: int = cv2.BORDER_CONSTANT
) -> _Pixels:
    """Sample squares at displaced places.

    Args:
        planes: n squares of side `of_side`.
        x: Displacements along x, as a share of the side: a stack of n squares in the resolution of the result.
        y: The same along y.
        of_side: In pixels.
        border: Value of the squares outside, as OpenCV's border type.
    """
    along = _sample_places(x.shape[-1], of_side)
    x, y = x * np.float32(of_side), y * np.float32(of_side)
    x += along
    y += along[:, None]
    found = np.empty((*x.shape, *planes[0].shape[2:]), planes[0].dtype)
    for plane, of_x, of_y, into in zip(planes, x, y, found, strict=True):
        cv2.remap(plane, of_x, of_y, cv2.INTER_LINEAR, dst=into, borderMode=border)
    return cast(_Pixels, found)


@functools.lru_cache(maxsize=16)
def _sample_places(side: int, of_side: int) -> Plane:
    """Where the pixels along one square lie along another of the same window, in pixels of the other: shape (side,)."""
    return ((np.arange(side) + 0.5) * (of_side / side) - 0.5).astype(np.float32)


def resized(planes: Sequence[Plane] | Plane, side: int) -> Plane:
    """Resize squares."""
    return np.stack(
        [np.asarray(cv2.resize(plane, (side, side), interpolation=cv2.INTER_LINEAR), np.float32) for plane in planes]
    )


def enlarged(planes: Plane, side: int) -> Plane:
    """Enlarge squares to a multiple of their side, in one call: from shape (..., any, any) to (..., side, side)."""
    squares, times = planes.shape[:-2], side // planes.shape[-1]
    # One above the other, each between copies of its first and last row, so that squares do not mix.
    padded = np.concatenate((planes[..., :1, :], planes, planes[..., -1:, :]), axis=-2)
    tall = cv2.resize(padded.reshape(-1, padded.shape[-1]), None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR)
    return np.asarray(tall, np.float32).reshape(*squares, -1, side)[..., times:-times, :]


def split(planes: _Pixels) -> Sequence[_Pixels]:
    """Split a stack along its last axis: one stack for each plane."""
    parts = cv2.split(planes.reshape(-1, *planes.shape[-2:]))
    return [cast(_Pixels, part.reshape(planes.shape[:-1])) for part in parts]


def merged(*planes: Plane) -> Plane:
    """Merge stacks along a new last axis: the inverse of `split`."""
    together = cv2.merge([plane.reshape(-1, plane.shape[-1]) for plane in planes])
    return np.asarray(together, np.float32).reshape(*planes[0].shape, len(planes))


def thinned(planes: Plane) -> Plane:
    """Take one pixel of each cell of flow: enough to sum up smooth squares."""
    step = planes.shape[-1] // FLOW_SIDE
    return np.ascontiguousarray(planes[..., step // 2 :: step, step // 2 :: step])


def blurred(planes: Iterable[_Pixels], spread: float) -> _Pixels:
    """Blur squares by a Gaussian of that standard deviation in pixels, cut off at 2.5 of it."""
    size = 2 * max(round(2.5 * spread), 1) + 1
    return cast(_Pixels, np.stack([cv2.GaussianBlur(plane, (size, size), spread) for plane in planes]))
