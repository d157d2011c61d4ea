"""Squares of numbers: sampled elsewhere, thinned out, blurred."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from streamseg.propagate.looks import FLOW_SIDE, Flow
from streamseg.window import Plane


def sample(plane: Plane, displacement: Flow, border: int = cv2.BORDER_CONSTANT) -> Plane:
    """A square of `displacement`'s resolution whose pixels are those of another, of any resolution, from that far away."""
    side = displacement.shape[0]
    places = displacement * np.float32(plane.shape[0])
    places += _pixels(side, plane.shape[0])
    # The places hold both coordinates; OpenCV's stubs do not know that the other map may then be absent.
    return np.asarray(cv2.remap(plane, places, None, cv2.INTER_LINEAR, borderMode=border), np.float32)  # type: ignore[call-overload]


@functools.lru_cache(maxsize=16)
def _pixels(side: int, of_side: int) -> Plane:
    """Where the pixels of one square lie in another of the same window: shape (side, side, 2), x and y in pixels of the other."""
    along = ((np.arange(side) + 0.5) * (of_side / side) - 0.5).astype(np.float32)
    return np.stack(np.meshgrid(along, along), axis=-1)


def thinned(plane: Plane) -> Plane:
    """One pixel of each cell of flow, which is enough to sum up smooth planes."""
    step = plane.shape[0] // FLOW_SIDE
    return np.ascontiguousarray(plane[step // 2 :: step, step // 2 :: step])


def blurred(plane: Plane, spread: float) -> Plane:
    """Blurred by a Gaussian of that standard deviation in pixels, which reaches two and a half of it."""
    size = 2 * max(round(2.5 * spread), 1) + 1
    return np.asarray(cv2.GaussianBlur(plane, (size, size), spread), np.float32)
