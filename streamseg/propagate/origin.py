"""What is remembered of an object from the frame on which its mask was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from streamseg.masks import Mask
from streamseg.messages import Box, Image
from streamseg.propagate.appearance import Appearance, learn
from streamseg.window import Plane, crop, mask_plane, window_around

ORIGIN_SIDE: Final = 128
"""Of the squares in which masks are remembered."""
_DOUBT = 3
"""How strongly colours are mistrusted where they gave the mask wrongly: the power of the share of right ones nearby."""
_NEARBY = 4.0
"""Standard deviation of what is nearby, in pixels of the square."""


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """An object's square on the frame on which its mask was made.

    Attributes:
        share: How much of each pixel the mask covers: shape (ORIGIN_SIDE, ORIGIN_SIDE), 0 to 1.
        trust: How far colours tell the object there: the same shape, 0 to 1.
        appearance: The colours themselves.
    """

    share: Plane
    trust: Plane
    appearance: Appearance


def remember(image: Image, box: Box, mask: Mask) -> Origin | None:
    """Remember an object.

    Args:
        image: The frame, shape (height, width, 3), uint8, BGR.
        box: Of the object, in its pixels.
        mask: Of the object; it may leave the box.

    Returns:
        None where the box lies outside the frame.
    """
    window = window_around(box, image.shape[1], image.shape[0])
    if window is None:
        return None
    share = mask_plane(mask, window, ORIGIN_SIDE)
    picture = crop(image, window, ORIGIN_SIDE)
    appearance = learn(picture, share)
    return Origin(share, _trust(appearance.evidence(picture), share), appearance)


def _trust(evidence: Plane, share: Plane) -> Plane:
    right = 1 / (1 + np.exp(-2 * evidence * (2 * share - 1)))
    return np.asarray(cv2.GaussianBlur(right, (0, 0), _NEARBY) ** _DOUBT, np.float32)
