"""Polygons around a mask: simple ones, which neither cross nor touch themselves, and each has an area.

A part is a set of pixels that share sides. Each side of a pixel that faces the background gives a corner of the
polygon, which lies within that pixel. Cutting off its decimals gives the pixel, so that `cv2.fillPoly` and Pillow,
which fill the edge too, draw the mask again, to the pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.bool_]
Polygon = NDArray[np.float64]
"""Shape (corners, 2): x and y, in pixels; the centre of the first pixel is at (0.5, 0.5)."""

_UP, _RIGHT, _DOWN, _LEFT = range(4)
_STEPS: Final = np.array(((0, -1), (1, 0), (0, 1), (-1, 0)))
"""To the pixel across each side: x and y."""


class Placement(NamedTuple):
    """Where the corners of a pixel lie, in hundredths of it: so far from a point in the middle towards each side."""

    middle: int
    reach: int


AROUND_CENTRES: Final = Placement(50, 40)
"""The centre of a pixel is inside exactly if the pixel is in the mask, which decides for pycocotools."""
TO_ROUND: Final = Placement(25, 20)
"""Rounding a corner gives its pixel too."""


def outer_rings(bits: Bits, x: int, y: int, placement: Placement) -> list[Polygon]:
    """A polygon around each part of a mask of shape (height, width) whose first pixel is at x, y; covers holes."""
    return [ring.polygon(x, y, placement) for ring in _rings(_open_sides(bits)) if ring.area > 0]


def cut_open(bits: Bits, x: int, y: int, placement: Placement, smallest: int) -> list[Polygon]:
    """A polygon for each part of a mask, without its holes: a slit between two columns of pixels leads to each.

    Args:
        bits: Shape (height, width).
        x: Column of its first pixel.
        y: Row of its first pixel.
        placement: Of the corners.
        smallest: Parts of fewer pixels are left out, except for the largest one.
    """
    sides = _open_sides(bits)
    for ring in _rings(sides):
        if ring.area < 0:
            _cut(sides, ring)
    rings = sorted(_rings(sides), key=lambda ring: -ring.area)
    return [ring.polygon(x, y, placement) for place, ring in enumerate(rings) if place == 0 or ring.area >= smallest]


@dataclass(frozen=True, slots=True, eq=False)
class _Ring:
    """Sides of pixels in a row, the mask to the right.

    Attributes:
        x: Column of each pixel.
        y: Row of each pixel.
        side: `_UP` to `_LEFT`.
    """

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    side: NDArray[np.int64]

    @property
    def area(self) -> int:
        """Pixels inside; around a hole, the negative number of its pixels."""
        return int((self.x[self.side == _RIGHT] + 1).sum() - self.x[self.side == _LEFT].sum())

    def polygon(self, x: int, y: int, placement: Placement) -> Polygon:
        """The corners, moved by x and y, without those on a straight line."""
        pixels = np.stack([self.x + x, self.y + y], axis=1)
        corners = pixels * 100 + placement.middle + placement.reach * _STEPS[self.side]
        into, out = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
        turns = into[:, 0] * out[:, 1] != into[:, 1] * out[:, 0]
        polygon: Polygon = corners[turns] / 100
        return polygon


def _open_sides(bits: Bits) -> Bits:
    """Which sides of each pixel face the background: shape (height + 2, width + 2, 4), with a margin of one pixel."""
    padded = np.pad(bits, 1)
    sides = np.zeros((*padded.shape, 4), np.bool_)
    for side, (dx, dy) in enumerate(_STEPS):
        sides[..., side] = padded & ~np.roll(padded, (-dy, -dx), (0, 1))
    return sides


def _rings(sides: Bits) -> list[_Ring]:
    """All rings of open sides; coordinates are those of the mask, without the margin."""
    width = sides.shape[1]
    steps = _STEPS @ (1, width)
    flat = sides.reshape(-1, 4)
    numbers = np.flatnonzero(sides)
    pixel, side = np.divmod(numbers, 4)
    # With the mask to the right, the way leads along a side to the next one: of this pixel, of the pixel ahead, or of
    # the one diagonally across.
    onward = (side + 1) % 4
    ahead = pixel + steps[onward]
    next_side = np.where(
        flat[pixel, onward],
        pixel * 4 + onward,
        np.where(flat[ahead, side], ahead * 4 + side, (ahead + steps[side]) * 4 + (side + 3) % 4),
    )
    following = np.searchsorted(numbers, next_side).tolist()
    rings = []
    seen = bytearray(len(following))
    for first in range(len(following)):
        if seen[first]:
            continue
        places = []
        place = first
        while not seen[place]:
            seen[place] = True
            places.append(place)
            place = following[place]
        y, x = np.divmod(pixel[places], width)
        rings.append(_Ring(x - 1, y - 1, side[places]))
    return rings


def _cut(sides: Bits, hole: _Ring) -> None:
    """Open the sides along the way from a hole straight upwards to the next hole or out of the part."""
    above = np.flatnonzero(hole.side == _DOWN)
    top = above[np.lexsort((hole.x[above], hole.y[above]))[0]]
    x, y = int(hole.x[top]) + 1, int(hole.y[top]) + 1
    # The slit runs between this column and the one before, along pixels that are closed to each other.
    while not sides[y, x, _LEFT]:
        sides[y, x, _LEFT] = sides[y, x - 1, _RIGHT] = True
        if sides[y, x, _UP] or sides[y, x - 1, _UP]:
            return
        y -= 1
