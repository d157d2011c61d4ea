"""Squares of numbers, those of several objects at a time: sampled elsewhere, resized, thinned out, blurred.

A stack of squares has the shape (n, side, side), or (n, side, side, planes). Where it can, one call does the work for all of a frame's
objects: at this size a call costs more than its arithmetic.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.window import Plane

FLOW_SIDE: Final = 40
"""Flow is kept in a square of so many cells. Sides of squares are multiples of it."""
CELL_CENTRES: Final[Plane] = (np.arange(FLOW_SIDE, dtype=np.float32) + np.float32(0.5)) / np.float32(FLOW_SIDE)
"""Of the cells along a side, in sides of the square."""

_Pixels = TypeVar("_Pixels", Plane, NDArray[np.uint8])


def sample(planes: Sequence[_Pixels], x: Plane, y: Plane, of_side: int, border: int = cv2.BORDER_CONSTANT) -> _Pixels:
    """Squares whose pixels are those of others, from that far away.

    Args:
        planes: The others: one square of side `of_side` each.
        x: How far along x: a stack, in sides of the square. The resolution of the result is its own.
        y: And along y.
        of_side: In pixels.
        border: What the others show outside.
    """
    along = _along(x.shape[-1], of_side)
    x, y = x * np.float32(of_side), y * np.float32(of_side)
    x += along
    y += along[:, None]
    found = np.empty((*x.shape, *planes[0].shape[2:]), planes[0].dtype)
    for plane, of_x, of_y, into in zip(planes, x, y, found, strict=True):
        cv2.remap(plane, of_x, of_y, cv2.INTER_LINEAR, dst=into, borderMode=border)
    return cast(_Pixels, found)


@functools.lru_cache(maxsize=16)
def _along(side: int, of_side: int) -> Plane:
    """Where the pixels of one square lie along another of the same window, in pixels of the other: shape (side,)."""
    return ((np.arange(side) + 0.5) * (of_side / side) - 0.5).astype(np.float32)


def resized(planes: Sequence[Plane] | Plane, side: int) -> Plane:
    """Squares in another resolution."""
    return np.stack(
        [np.asarray(cv2.resize(plane, (side, side), interpolation=cv2.INTER_LINEAR), np.float32) for plane in planes]
    )


def enlarged(planes: Plane, side: int) -> Plane:
    """Squares in a resolution that is a multiple of theirs: from shape (..., any, any) to (..., side, side)."""
    squares, times = planes.shape[:-2], side // planes.shape[-1]
    # One above the other, each between copies of its first and last row, so that no square is mixed with the next.
    apart = np.concatenate((planes[..., :1, :], planes, planes[..., -1:, :]), axis=-2)
    tall = cv2.resize(apart.reshape(-1, apart.shape[-1]), None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR)
    return np.asarray(tall, np.float32).reshape(*squares, -1, side)[..., times:-times, :]


def split(planes: _Pixels) -> Sequence[_Pixels]:
    """The planes of a stack whose last axis tells them apart: a stack each."""
    parts = cv2.split(planes.reshape(-1, *planes.shape[-2:]))
    return [cast(_Pixels, part.reshape(planes.shape[:-1])) for part in parts]


def merged(*planes: Plane) -> Plane:
    """The inverse of `split`."""
    together = cv2.merge([plane.reshape(-1, plane.shape[-1]) for plane in planes])
    return np.asarray(together, np.float32).reshape(*planes[0].shape, len(planes))


def thinned(planes: Plane) -> Plane:
    """One pixel of each cell of flow, which is enough to sum up smooth squares."""
    step = planes.shape[-1] // FLOW_SIDE
    return np.ascontiguousarray(planes[..., step // 2 :: step, step // 2 :: step])


def blurred(planes: Iterable[_Pixels], spread: float) -> _Pixels:
    """Blurred by a Gaussian of that standard deviation in pixels, which reaches two and a half of it."""
    size = 2 * max(round(2.5 * spread), 1) + 1
    return cast(_Pixels, np.stack([cv2.GaussianBlur(plane, (size, size), spread) for plane in planes]))
