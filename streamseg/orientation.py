"""How a stored picture is turned to stand upright: the eight ways of display matrices and EXIF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import cv2
import numpy as np

from streamseg.messages import Image


@dataclass(frozen=True, slots=True)
class Orientation:
    """The upright picture's axes: x = xx · stored x + xy · stored y, y = yx · stored x + yy · stored y.

    In each row and column one factor is 1 or -1, the other 0.
    """

    xx: int = 1
    xy: int = 0
    yx: int = 0
    yy: int = 1

    @classmethod
    def from_matrix(cls, matrix: Sequence[int]) -> Self:
        """The orientation of an MP4 display matrix (a b u, c d v, x y w); one without any direction turns nothing.

        A rotation by other than a quarter turn counts as the nearest quarter turn.
        """
        a, b, _, c, d = matrix[:5]
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(xx=-1 if a < 0 else 1, yy=-1 if d < 0 else 1)
        return cls(xx=0, xy=-1 if c < 0 else 1, yx=-1 if b < 0 else 1, yy=0)

    @classmethod
    def from_exif(cls, value: int) -> Self:
        """The orientation that EXIF numbers from 1 to 8; other numbers turn nothing."""
        return cls(*_EXIF.get(value, (1, 0, 0, 1)))

    @classmethod
    def from_rotation(cls, clockwise: int, *, mirror: bool = False) -> Self:
        """A clockwise rotation by a multiple of 90 degrees, then left and right swapped if `mirror` is set."""
        turned = cls(*_CLOCKWISE[clockwise % 360])
        return turned.then(cls(xx=-1)) if mirror else turned

    @property
    def swaps_sides(self) -> bool:
        """Whether width becomes height."""
        return self.xx == 0

    def then(self, other: Self) -> Self:
        """Both, one after the other."""
        return type(self)(
            other.xx * self.xx + other.xy * self.yx,
            other.xx * self.xy + other.xy * self.yy,
            other.yx * self.xx + other.yy * self.yx,
            other.yx * self.xy + other.yy * self.yy,
        )

    def apply(self, image: Image) -> Image:
        """Turn an image of shape (height, width, 3)."""
        if self.swaps_sides:
            image = np.asarray(cv2.transpose(image), np.uint8)
        flips = (self.xx + self.xy < 0, self.yx + self.yy < 0)
        return np.asarray(cv2.flip(image, _FLIP[flips]), np.uint8) if any(flips) else image


_EXIF: Final = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, -1, 1, 0),
    7: (0, -1, -1, 0),
    8: (0, 1, -1, 0),
}
_CLOCKWISE: Final = {0: _EXIF[1], 90: _EXIF[6], 180: _EXIF[3], 270: _EXIF[8]}
_FLIP: Final = {(True, False): 1, (False, True): 0, (True, True): -1}
"""OpenCV's number of a flip of x and y."""
