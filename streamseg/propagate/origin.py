"""What is remembered of an object from the frame on which its mask was made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.masks import Mask
from streamseg.messages import Box, Image
from streamseg.propagate.appearance import Appearance, evidence, learn
from streamseg.propagate.planes import blurred, resized
from streamseg.window import Plane, crop, mask_plane, window_around

ORIGIN_SIDE: Final = 192
"""Of the squares in which masks are remembered."""
_SOFTEST = 3 / 128
"""How far outlines are blurred at most: standard deviation in sides of the square."""
_DOUBT = 3
"""How strongly is mistrusted what gave the mask wrongly: the power of the share of right pixels nearby."""
_UNKNOWN = 0.4
"""Trust in the small segmenter where it was not asked."""
_NEARBY = 1 / 32
"""Standard deviation of what is nearby, in sides of the square."""


Refine = Callable[[Image, Sequence[Box]], Sequence[Plane]]
"""The small segmenter: a frame and boxes to the logarithm of the odds for each pixel of each box's square (`streamseg.window`), zero
everywhere for a box outside the frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """An object's square on the frame on which its mask was made.

    Attributes:
        planes: Shape (ORIGIN_SIDE, ORIGIN_SIDE, 4), uint8, 255 for all: how much of each pixel the mask covers; the same, blurred; how far
            colours tell the object there; and how far the small segmenter does.
        appearance: The colours themselves.
    """

    planes: NDArray[np.uint8]
    appearance: Appearance

    @property
    def share(self) -> NDArray[np.uint8]:
        """The first of the planes."""
        return self.planes[..., 0]


def remember(image: Image, box: Box, mask: Mask, opinion: Plane | None = None) -> Origin | None:
    """Remember an object.

    Args:
        image: The frame, shape (height, width, 3), uint8, BGR.
        box: Of the object, in its pixels.
        mask: Of the object; it may leave the box.
        opinion: What the small segmenter says of it (see `Refine`), which tells how far it is to be trusted with this object.

    Returns:
        None where the box lies outside the frame.
    """
    window = window_around(box, image.shape[1], image.shape[0])
    if window is None:
        return None
    share = mask_plane(mask, window, ORIGIN_SIDE)
    picture = crop(image, window, ORIGIN_SIDE)
    appearance = learn(picture, share)
    by_colour = _trust(evidence([appearance], picture[None])[0], share)
    by_opinion = np.full_like(share, _UNKNOWN) if opinion is None else _trust(resized([opinion], ORIGIN_SIDE)[0], share)
    planes = np.stack((share, blurred([share], _SOFTEST * ORIGIN_SIDE)[0], by_colour, by_opinion), axis=-1)
    return Origin(np.rint(planes * 255).astype(np.uint8), appearance)


def remember_all(
    image: Image, boxes: Sequence[Box], masks: Sequence[Mask | None], refine: Refine | None = None
) -> list[Origin | None]:
    """Remember the objects of a frame as `remember` does, each with what the small segmenter says of it; None for one without a mask."""
    known = [(box, mask) for box, mask in zip(boxes, masks, strict=True) if mask is not None]
    opinions = [None] * len(known) if refine is None else refine(image, [box for box, _ in known])
    origins = iter([remember(image, box, mask, opinion) for (box, mask), opinion in zip(known, opinions, strict=True)])
    return [None if mask is None else next(origins) for mask in masks]


def _trust(odds: Plane, share: Plane) -> Plane:
    right = 1 / (1 + np.exp(-2 * odds * (2 * share - 1)))
    return np.asarray(cv2.GaussianBlur(right, (0, 0), _NEARBY * ORIGIN_SIDE) ** _DOUBT, np.float32)
