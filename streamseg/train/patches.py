"""One object and its surroundings, cut out of a photograph, small enough to stay in memory."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.masks import Mask
from streamseg.messages import Image
from streamseg.train.outlines import Photograph

_SURROUNDINGS = 0.8
"""Share of the object's longer side that is kept around it on each side, so that it can be turned and moved."""
_LONGEST_SIDE = 320
"""Of a patch in pixels; larger ones are reduced."""
_GREY = 127


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A square around one object.

    Attributes:
        image: Shape (side, side, 3), uint8, BGR; grey outside of the photograph.
        mask: Shape (side, side), uint8, 255 on the object.
        object_side: The longer side of the object's rectangle, in pixels of the patch.
    """

    image: Image
    mask: NDArray[np.uint8]
    object_side: float


def read_patch(photograph: Photograph, mask: Mask) -> Patch:
    """Cut an object out of its photograph.

    Raises:
        SourceError: The file is no picture.
        DataError: It is not the one that the outline was drawn on.
    """
    image = photograph.read()
    longer = max(mask.width, mask.height)
    side = round(longer * (1 + 2 * _SURROUNDINGS))
    left, top = mask.x + mask.width // 2 - side // 2, mask.y + mask.height // 2 - side // 2
    picture: NDArray[np.uint8] = np.full((side, side, 3), _GREY, np.uint8)
    bits: NDArray[np.uint8] = np.zeros((side, side), np.uint8)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, image.shape[1]), min(top + side, image.shape[0])
    picture[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    bits[mask.y - top : mask.y - top + mask.height, mask.x - left : mask.x - left + mask.width] = mask.bits * np.uint8(
        255
    )
    if side > _LONGEST_SIDE:
        picture, bits = _reduced(picture), _reduced(bits)
    return Patch(picture, bits, longer * picture.shape[0] / side)


def _reduced(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(pixels, (_LONGEST_SIDE, _LONGEST_SIDE), interpolation=cv2.INTER_AREA), np.uint8)
