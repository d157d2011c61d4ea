"""The colours of an object and of its surroundings, by their place in the square.

The model is a pair of histograms over colour and place, as in interactive cut-outs with local colour models (Bai et
al., "Video SnapCut", 2009). It is made from one mask, and gives log-odds for each pixel of a later crop.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.messages import Image
from streamseg.propagate.crop import blurred
from streamseg.window import Plane

_BITS = 4
_LEVELS = 2**_BITS
"""Levels of each colour channel."""
_COLOURS = _LEVELS**3
FEW_LEVELS: Final = 8
"""Levels of each channel if an object only needs to be recognised."""
_STEP = 255 / (_LEVELS - 1)
_CELLS = 8
"""Places along each side of the square."""
_REACH = 0.12
"""How far around its place a colour counts: standard deviation, as a share of the side. ΔIoU ≤ 0.002."""
_ANYWHERE = 0.15
"""Share of the model that is independent of place. ΔIoU ≤ 0.001."""
_MODEL_SIDE = 64
"""Side of the square from which the model is made, in pixels: more pixels do not improve it."""
_LEAST = 0.2 / _COLOURS
"""Added to the share of each colour, so that a colour never seen proves nothing. ΔIoU ≤ 0.001."""
CERTAIN: Final = 3.0
"""Largest log-odds that a colour gives. ΔIoU ≤ 0.007."""
_SCALE = 127 / CERTAIN
_SMOOTHING = 1 / 128
"""Blur of the log-odds, as single pixels deceive: standard deviation, as a share of the side. ΔIoU ≤ 0.006."""


@dataclass(frozen=True, slots=True, eq=False)
class Appearance:
    """Log-odds of belonging to the object, for each place and each colour seen there.

    Attributes:
        columns: Shape (4096,), uint16: for each colour its column in `logits`; 0 for a colour never seen.
        logits: Shape (64, columns), int8: log-odds by place and colour, 127 for `CERTAIN`; column 0 is zero.
    """

    columns: NDArray[np.uint16]
    logits: NDArray[np.int8]

    @classmethod
    def of(cls, picture: Image, share: Plane) -> Self:
        """Model an object.

        Args:
            picture: Its square, shape (side, side, 3), uint8, BGR.
            share: How much of each pixel belongs to the object: shape (side, side), 0 to 1.
        """
        step = max(picture.shape[0] // _MODEL_SIDE, 1)
        seen, inside = picture[::step, ::step].reshape(-1, 3), share[::step, ::step].reshape(-1).astype(np.float64)
        cells = _cells(picture.shape[0])[::step, ::step].reshape(-1)
        colours, shares = _splat(seen)
        known = np.zeros(_COLOURS, np.bool_)
        known[colours] = True
        columns = (np.cumsum(known) * known).astype(np.uint16)
        width = int(known.sum()) + 1
        places = cells * width + columns[colours]
        size = _CELLS * _CELLS * width
        whole = np.bincount(places.ravel(), shares.ravel(), size).reshape(-1, width).astype(np.float32)
        objects = np.bincount(places.ravel(), (shares * inside).ravel(), size).reshape(-1, width).astype(np.float32)
        logits = np.log(_frequencies(objects) / _frequencies(np.maximum(whole - objects, 0)))
        logits[:, 0] = 0
        return cls(columns, np.rint(np.clip(logits, -CERTAIN, CERTAIN) * _SCALE).astype(np.int8))

    def logits_at(self, cells: NDArray[np.int32], colours: NDArray[np.uint16]) -> NDArray[np.int8]:
        """The log-odds of pixels of those colours in those cells, as in `logits`; any shape."""
        places = cells * self.logits.shape[1] + self.columns.take(colours)
        found: NDArray[np.int8] = self.logits.reshape(-1).take(places)
        return found


def colour_logits(appearances: Sequence[Appearance], pictures: Image) -> Plane:
    """The log-odds of each pixel of n squares, within `CERTAIN`: shape (n, side, side).

    Args:
        appearances: One for each square.
        pictures: Shape (n, side, side, 3), uint8, BGR.
    """
    side = pictures.shape[1]
    blue, green, red = cv2.split(cv2.convertScaleAbs(pictures.reshape(-1, side, 3), alpha=1 / _STEP))
    np.left_shift(green, _BITS, out=green)
    # A colour's number: blue in the high byte, green and red in the low one.
    colours = cv2.merge((np.bitwise_or(green, red, out=green), blue)).view("<u2").reshape(-1, side, side)
    found = np.stack([each.logits_at(_cells(side), one) for each, one in zip(appearances, colours, strict=True)])
    logits: Plane = blurred(found.astype(np.float32), side * _SMOOTHING)
    logits *= np.float32(1 / _SCALE)
    return logits


def colour_histogram(picture: Image, share: Plane | None = None) -> Plane:
    """The histogram of an object's colours (Swain and Ballard, "Color indexing", 1991): shape (8, 8, 8), sum 1.

    Args:
        picture: Shape (height, width, 3), uint8, BGR.
        share: How much of each pixel belongs to the object: shape (height, width), 0 to 1; None for all of it.
    """
    inside = None if share is None else (share > 0.5).view(np.uint8)
    counts = cv2.calcHist([picture], [0, 1, 2], inside, [FEW_LEVELS] * 3, [0, 256] * 3)
    return np.asarray(counts / max(counts.sum(), 1), np.float32)


def histogram_overlap(one: Plane, other: Plane) -> float:
    """The intersection of two histograms, 0 to 1."""
    return float(np.minimum(one, other).sum())


def _splat(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Split each of n pixels between the eight nearest colours: their numbers and shares, both of shape (8, n)."""
    place = pixels.T / _STEP
    low = np.minimum(place.astype(np.int64), _LEVELS - 2)
    above = place - low
    # (2, 3, n): the level below and the one above, by channel.
    levels, shares = np.stack((low, low + 1)), np.stack((1 - above, above))
    colours = (levels[:, None, None, 0] * _LEVELS + levels[None, :, None, 1]) * _LEVELS + levels[None, None, :, 2]
    together = shares[:, None, None, 0] * shares[None, :, None, 1] * shares[None, None, :, 2]
    return colours.reshape(8, -1), together.reshape(8, -1)


def _frequencies(counts: Plane) -> Plane:
    """The frequency of each colour at each place, from the counts there and around it."""
    around = _neighbours() @ counts
    return np.asarray(around / (around.sum(axis=1, keepdims=True) + 1e-9) + _LEAST, np.float32)


@functools.lru_cache(maxsize=1)
def _neighbours() -> Plane:
    """How much the counts of each cell weigh in each other cell: shape (64, 64), rows sum to 1."""
    centres = (np.arange(_CELLS) + 0.5) / _CELLS
    along = np.exp(-((centres[:, None] - centres) ** 2) / (2 * _REACH**2))
    along /= along.sum(axis=1, keepdims=True)
    return np.asarray((1 - _ANYWHERE) * np.kron(along, along) + _ANYWHERE / _CELLS**2, np.float32)


@functools.lru_cache(maxsize=8)
def _cells(side: int) -> NDArray[np.int32]:
    """The cell of each pixel of a square: shape (side, side)."""
    along = np.arange(side, dtype=np.int32) * _CELLS // side
    return along[:, None] * _CELLS + along[None, :]
