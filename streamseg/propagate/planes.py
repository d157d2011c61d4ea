"""Squares of numbers: sampled elsewhere, resized, thinned out, blurred."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.propagate.looks import FLOW_SIDE, Flow
from streamseg.window import Plane

_Pixels = TypeVar("_Pixels", Plane, NDArray[np.uint8])


def sample(plane: _Pixels, displacement: Flow, border: int = cv2.BORDER_CONSTANT) -> _Pixels:
    """A square of `displacement`'s resolution whose pixels are those of another, of any resolution, from that far away."""
    x, y = split(displacement)
    return sample_at(plane, x, y, border)


def sample_at(plane: _Pixels, x: Plane, y: Plane, border: int = cv2.BORDER_CONSTANT) -> _Pixels:
    """As `sample`, by displacements along x and y of shape (side, side) each."""
    x, y = places(x, y, plane.shape[0])
    return remapped(plane, x, y, border)


def places(x: Plane, y: Plane, of_side: int) -> tuple[Plane, Plane]:
    """Where such displacements lead, in pixels of a square of that side."""
    along = _along(x.shape[0], of_side)
    x, y = x * np.float32(of_side), y * np.float32(of_side)
    x += along
    y += along[:, None]
    return x, y


def remapped(plane: _Pixels, x: Plane, y: Plane, border: int) -> _Pixels:
    """What a square, of one plane or several, shows at those places."""
    return cast(_Pixels, cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=border))


@functools.lru_cache(maxsize=16)
def _along(side: int, of_side: int) -> Plane:
    """Where the pixels of one square lie along another of the same window, in pixels of the other: shape (side,)."""
    return ((np.arange(side) + 0.5) * (of_side / side) - 0.5).astype(np.float32)


def resized(plane: Plane, side: int) -> Plane:
    """A square, of one plane or several, in another resolution."""
    return np.asarray(cv2.resize(plane, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)


def split(planes: _Pixels) -> Sequence[_Pixels]:
    """The planes of a stack of them whose last axis tells them apart."""
    return cast(Sequence[_Pixels], cv2.split(planes))


def thinned(plane: Plane) -> Plane:
    """One pixel of each cell of flow, which is enough to sum up smooth planes."""
    step = plane.shape[0] // FLOW_SIDE
    return np.ascontiguousarray(plane[step // 2 :: step, step // 2 :: step])


def blurred(plane: _Pixels, spread: float) -> _Pixels:
    """Blurred by a Gaussian of that standard deviation in pixels, which reaches two and a half of it."""
    size = 2 * max(round(2.5 * spread), 1) + 1
    return cast(_Pixels, cv2.GaussianBlur(plane, (size, size), spread))
