"""What an object looks like beside its surroundings: the colours of each, by the place in its square.

The model is a pair of histograms over colour and place, as in interactive cut-outs that learn their colours locally (Bai et al., "Video
SnapCut", 2009), learnt from one mask and asked for the odds of each pixel of a later frame.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.messages import Image
from streamseg.propagate.crop import blurred
from streamseg.window import Plane

_BITS = 4
_LEVELS = 2**_BITS
"""Of each colour channel."""
_COLOURS = _LEVELS**3
_FEW_LEVELS = 8
"""Of each channel, where an object is only to be recognised."""
_STEP = 255 / (_LEVELS - 1)
_CELLS = 8
"""Places, along each side of the square."""
_REACH = 0.12
"""How far colours count beside the place where they were seen (standard deviation, in sides of the square)."""
_ANYWHERE = 0.15
"""Share of the model that knows no place."""
_LEARNT_SIDE = 64
"""More pixels than this teach it nothing more."""
_LEAST = 0.2 / _COLOURS
"""Added to each share of a colour: what was never seen proves nothing."""
CERTAIN: Final = 3.0
"""Largest odds that a colour gives, as a natural logarithm."""
_SCALE = 127 / CERTAIN
_SMOOTHING = 1 / 128
"""Of the odds, standard deviation in sides of the square: single pixels deceive."""


@dataclass(frozen=True, slots=True, eq=False)
class Appearance:
    """Odds of belonging to the object, for each place and each colour that was seen.

    Attributes:
        columns: Shape (4096,), uint16: for each colour its column in `odds`; 0 for what was not seen.
        odds: Shape (64, columns), int8: logarithms of the odds by place and colour, 127 for `CERTAIN`; column 0 is zero.
    """

    columns: NDArray[np.uint16]
    odds: NDArray[np.int8]

    def odds_at(self, cells: NDArray[np.int32], colours: NDArray[np.uint16]) -> NDArray[np.int8]:
        """The odds of pixels in those cells that have those colours, as in `odds`; any shape."""
        found: NDArray[np.int8] = self.odds.reshape(-1).take(cells * self.odds.shape[1] + self.columns.take(colours))
        return found


def frequent_colours(picture: Image, share: Plane) -> Plane:
    """How frequent each colour is in an object (Swain and Ballard, "Color indexing", 1991): shape (8, 8, 8), the sum is 1.

    Args:
        picture: Its square, shape (side, side, 3), uint8, BGR.
        share: How much of each pixel belongs to the object: shape (side, side), 0 to 1.
    """
    inside = (share > 0.5).view(np.uint8)
    counts = cv2.calcHist([picture], [0, 1, 2], inside, [_FEW_LEVELS] * 3, [0, 256] * 3)
    return np.asarray(counts / max(counts.sum(), 1), np.float32)


def in_common(one: Plane, other: Plane) -> float:
    """The share of two objects' colours (see `frequent_colours`) that are the same: 0 to 1."""
    return float(np.minimum(one, other).sum())


def evidence(appearances: Sequence[Appearance], pictures: Image) -> Plane:
    """For each pixel of n squares, the logarithm of the odds that it is the object's, -CERTAIN to CERTAIN: shape (n, side, side).

    Args:
        appearances: One for each square.
        pictures: Shape (n, side, side, 3), uint8, BGR.
    """
    side = pictures.shape[1]
    blue, green, red = cv2.split(cv2.convertScaleAbs(pictures.reshape(-1, side, 3), alpha=1 / _STEP))
    np.left_shift(green, _BITS, out=green)
    # The low byte and the high one of each colour's number.
    colours = cv2.merge((np.bitwise_or(green, red, out=green), blue)).view("<u2").reshape(-1, side, side)
    found = np.stack([each.odds_at(_cells(side), one) for each, one in zip(appearances, colours, strict=True)])
    odds: Plane = blurred(found.astype(np.float32), side * _SMOOTHING)
    odds *= np.float32(1 / _SCALE)
    return odds


def learn(picture: Image, share: Plane) -> Appearance:
    """Learn how an object looks.

    Args:
        picture: Its square, shape (side, side, 3), uint8, BGR.
        share: How much of each pixel belongs to the object: shape (side, side), 0 to 1.
    """
    step = max(picture.shape[0] // _LEARNT_SIDE, 1)
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
    odds = np.log(_frequencies(objects) / _frequencies(np.maximum(whole - objects, 0)))
    odds[:, 0] = 0
    return Appearance(columns, np.rint(np.clip(odds, -CERTAIN, CERTAIN) * _SCALE).astype(np.int8))


def _splat(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The eight colours between which each of n pixels lies, and its share in each of them: both of shape (8, n)."""
    place = pixels.T / _STEP
    low = np.minimum(place.astype(np.int64), _LEVELS - 2)
    above = place - low
    levels, shares = (
        np.stack((low, low + 1)),
        np.stack((1 - above, above)),
    )  # (2, 3, n): the level below and above, by channel
    colours = (levels[:, None, None, 0] * _LEVELS + levels[None, :, None, 1]) * _LEVELS + levels[None, None, :, 2]
    together = shares[:, None, None, 0] * shares[None, :, None, 1] * shares[None, None, :, 2]
    return colours.reshape(8, -1), together.reshape(8, -1)


def _frequencies(counts: Plane) -> Plane:
    """How frequent each colour is at each place, by what was seen there and around it."""
    around = _neighbours() @ counts
    return np.asarray(around / (around.sum(axis=1, keepdims=True) + 1e-9) + _LEAST, np.float32)


@functools.lru_cache(maxsize=1)
def _neighbours() -> Plane:
    """How much each cell's counts say about each other cell: shape (64, 64), rows sum to 1."""
    centres = (np.arange(_CELLS) + 0.5) / _CELLS
    along = np.exp(-((centres[:, None] - centres) ** 2) / (2 * _REACH**2))
    along /= along.sum(axis=1, keepdims=True)
    return np.asarray((1 - _ANYWHERE) * np.kron(along, along) + _ANYWHERE / _CELLS**2, np.float32)


@functools.lru_cache(maxsize=8)
def _cells(side: int) -> NDArray[np.int32]:
    """The cell of each pixel of a square: shape (side, side)."""
    along = np.arange(side, dtype=np.int32) * _CELLS // side
    return along[:, None] * _CELLS + along[None, :]
