"""Fits a picture into the SAM family's input: its longer side becomes the input's side, at the top left."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image as PilImage

from streamseg.errors import UsageError
from streamseg.messages import Image

Size = tuple[int, int]
"""Height and width in pixels."""

TRAINED_SIDE = 1024
"""Side of the square input in training, in pixels."""
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
"""Of each RGB channel, in levels of 0 to 255."""


def resized_size(size: Size, longer_side: int = TRAINED_SIDE) -> Size:
    """Size after resizing: the longer side as given, the other in proportion and at least 1."""
    scale = longer_side / max(size)
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def check_image(image: object) -> None:
    """Check that an image is an array of shape (height, width, 3), uint8.

    Raises:
        UsageError: It is not.
    """
    if isinstance(image, np.ndarray):
        if image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8 and image.size:
            return
        found, remedy = f"{image.dtype}{image.shape}", ""
    else:
        found, remedy = f"a {type(image).__name__}", "; of a Pillow image, np.asarray(image.convert('RGB')) makes one"
    raise UsageError(f"an image must be a (height, width, 3) uint8 array, not {found}{remedy}")


def resize_image(image: Image, longer_side: int = TRAINED_SIDE) -> Image:
    """Resize a picture of shape (height, width, 3), uint8, to `resized_size`, exactly as SAM does."""
    height, width = resized_size((image.shape[0], image.shape[1]), longer_side)
    # SAM resizes with Pillow, which antialiases; OpenCV does not.
    return np.asarray(PilImage.fromarray(image).resize((width, height), PilImage.Resampling.BILINEAR))


def resize_positions(
    positions: ArrayLike, original_size: Size, longer_side: int = TRAINED_SIDE
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Convert pixels of the picture to pixels of the resized one; the last axis holds x, y or a box's four numbers."""
    given = np.asarray(positions, dtype=np.float64)
    height, width = resized_size(original_size, longer_side)
    # Rounding the size makes the two ratios differ.
    return (given.reshape(-1, 2) * (width / original_size[1], height / original_size[0])).reshape(given.shape)
