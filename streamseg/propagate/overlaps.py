"""Where two carried masks lie on each other: the one keeps what is clearly its own, as one object hides the other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from streamseg.masks import Mask
from streamseg.window import Plane, Window

_CLEARLY = 2.0
"""By how much the odds of the one must be higher (logarithm): what both are sure of belongs to both, as a cup to who holds it."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A mask, and the odds that it was drawn from: of each pixel of its window's square."""

    mask: Mask | None
    odds: Plane
    window: Window


def apart(drawn: Sequence[Drawn]) -> list[Mask | None]:
    """The masks without what clearly belongs to another one; in the order given."""
    masks = [each.mask for each in drawn]
    for first, second in itertools.combinations(range(len(drawn)), 2):
        one, other = drawn[first].mask, drawn[second].mask
        if one is None or other is None:
            continue
        left, top, right, bottom = max(one.x, other.x), max(one.y, other.y), *_ends(one, other)
        if left >= right or top >= bottom:
            continue
        region = Window(left, top, right, bottom)
        difference = _over(drawn[first], region) - _over(drawn[second], region)
        masks[first] = _without(masks[first], region, difference < -_CLEARLY)
        masks[second] = _without(masks[second], region, difference > _CLEARLY)
    return masks


def _ends(one: Mask, other: Mask) -> tuple[int, int]:
    return min(one.x + one.width, other.x + other.width), min(one.y + one.height, other.y + other.height)


def _over(drawn: Drawn, region: Window) -> Plane:
    """The odds of each pixel of a region of the frame."""
    side, window = drawn.odds.shape[0], drawn.window
    across, down = side / window.width, side / window.height
    matrix = np.array(
        (
            (across, 0, (region.left + 0.5 - window.left) * across - 0.5),
            (0, down, (region.top + 0.5 - window.top) * down - 0.5),
        )
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(drawn.odds, matrix, (region.width, region.height), flags=flags, borderMode=cv2.BORDER_REPLICATE),
        np.float32,
    )


def _without(mask: Mask | None, region: Window, lost: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Mask | None:
    if mask is None or not lost.any():
        return mask
    left, top = max(region.left, mask.x), max(region.top, mask.y)
    right, bottom = min(region.right, mask.x + mask.width), min(region.bottom, mask.y + mask.height)
    if left >= right or top >= bottom:
        return mask
    bits = mask.bits.copy()
    bits[top - mask.y : bottom - mask.y, left - mask.x : right - mask.x] &= ~lost[
        top - region.top : bottom - region.top, left - region.left : right - region.left
    ]
    return Mask.crop(bits, mask.x, mask.y)
