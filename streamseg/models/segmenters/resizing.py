"""How a picture is fitted into the input of the SAM family: resized so that its longer side is the input's, at the top left of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image as PilImage

from streamseg.messages import Image

Size = tuple[int, int]
"""Height and width in pixels."""

TRAINED_SIDE = 1024
"""Side of the square input that the networks were trained with, in pixels."""
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
"""Of each channel of RGB, in levels of 0 to 255."""


def resized_size(size: Size, longer_side: int = TRAINED_SIDE) -> Size:
    """A picture's size after resizing: the longer side as given, the other in proportion and at least 1."""
    scale = longer_side / max(size)
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def resize_image(image: Image, longer_side: int = TRAINED_SIDE) -> Image:
    """Resize a picture of shape (height, width, 3), uint8, to `resized_size`, exactly as SAM does."""
    height, width = resized_size((image.shape[0], image.shape[1]), longer_side)
    # SAM resizes with Pillow, whose antialiasing OpenCV's resize does not have.
    return np.asarray(PilImage.fromarray(image).resize((width, height), PilImage.Resampling.BILINEAR))


def resize_positions(
    positions: ArrayLike, original_size: Size, longer_side: int = TRAINED_SIDE
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Positions in pixels of the picture, x and y in the last axis, or a box's four numbers there, in pixels of the resized one."""
    given = np.asarray(positions, dtype=np.float64)
    height, width = resized_size(original_size, longer_side)
    # Rounding gives each axis a ratio of its own.
    return (given.reshape(-1, 2) * (width / original_size[1], height / original_size[0])).reshape(given.shape)
