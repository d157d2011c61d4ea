"""A frame's number in its picture, as black and white cells in the top left corner, so that whoever has the picture knows the number."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.messages import Image

BITS: Final = 24
"""Numbers are taken modulo 2 to the power of this."""
_CELL_SHARE = 1 / 90
"""Side of a cell as a share of the frame's shorter side: 8 pixels at 720p."""
_LEAST_CONTRAST = 128.0


def corner(height: int, width: int) -> tuple[int, int]:
    """Height and width of what the number takes of a frame of that size, in pixels."""
    cell = _cell(height, width)
    return 2 * cell, BITS * cell


def write_number(image: Image, number: int) -> None:
    """Draw a number into a frame of shape (height, width, 3): for each bit, the lowest first, a white cell over a black one, or below."""
    upper = np.array([number >> bit & 1 for bit in range(BITS)], np.uint8)
    height, width = corner(image.shape[0], image.shape[1])
    cells = cv2.resize(np.stack((upper, 1 - upper)), (width, height), interpolation=cv2.INTER_NEAREST)
    image[:height, :width] = 255 * np.asarray(cells)[..., None]


def read_number(image: Image) -> int | None:
    """The number in a frame, also in one that was compressed or resized; None where there is none."""
    height, width = corner(image.shape[0], image.shape[1])
    means: NDArray[np.float64] = (
        image[:height, :width].reshape(2, height // 2, BITS, width // BITS, 3).mean(axis=(1, 3, 4))
    )
    differences = means[0] - means[1]
    if np.abs(differences).min() < _LEAST_CONTRAST:
        return None
    return sum(1 << bit for bit in range(BITS) if differences[bit] > 0)


def _cell(height: int, width: int) -> int:
    return max(2, round(_CELL_SHARE * min(height, width)))
