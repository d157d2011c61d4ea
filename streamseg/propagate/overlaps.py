"""From log-odds to masks without overlap: where one object hides another, each keeps what is clearly its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import meeting_pairs
from streamseg.masks import Mask
from streamseg.propagate.crop import thinned
from streamseg.window import Plane, Window, paste

_CLEARLY = 2.0
"""By how much the log-odds of one mask must be higher. What both are sure of stays in both. ΔIoU ≤ 0.001."""
_ISLAND = 0.03
"""Area below which a part is dropped, as a share of the largest part. ΔIoU ≤ 0.002."""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnMask:
    """A mask, and the log-odds from which it was drawn: of each pixel of its window's square."""

    mask: Mask | None
    logits: Plane
    window: Window


def draw(logits: Plane, window: Window, width: int, height: int) -> DrawnMask:
    """Draw the mask of a square's log-odds in a frame of that size, without islands."""
    return DrawnMask(paste(_without_islands(logits), window, width, height), logits, window)


def expected_ious(logits: Plane) -> NDArray[np.float32]:
    """The IoU with the true mask to expect of each of n masks, given log-odds of shape (n, side, side): shape (n,)."""
    probability = 1 / (1 + np.exp(-logits))
    inside = logits > 0
    sure = probability.sum(axis=(1, 2), where=inside)
    either = inside.sum(axis=(1, 2)) + probability.sum(axis=(1, 2)) - sure
    return np.asarray(sure / np.maximum(either, 1e-6), np.float32)


def remove_overlaps(drawn: Sequence[DrawnMask]) -> list[Mask | None]:
    """The masks without the pixels that clearly belong to another one, in their order."""
    masks = [each.mask for each in drawn]
    places = [place for place, mask in enumerate(masks) if mask is not None]
    boxes = [mask.xyxy for mask in masks if mask is not None]
    for row, column in meeting_pairs(boxes, boxes):
        first, second = places[row], places[column]
        one, other = drawn[first].mask, drawn[second].mask
        if first >= second or one is None or other is None:
            continue
        left, top = max(one.x, other.x), max(one.y, other.y)
        right, bottom = min(one.x + one.width, other.x + other.width), min(one.y + one.height, other.y + other.height)
        region = Window(left, top, right, bottom)
        difference = _odds_in(drawn[first], region) - _odds_in(drawn[second], region)
        masks[first] = _without(masks[first], region, difference < -_CLEARLY)
        masks[second] = _without(masks[second], region, difference > _CLEARLY)
    return masks


def _odds_in(drawn: DrawnMask, region: Window) -> Plane:
    """The log-odds of each pixel in a region of the frame."""
    side, window = drawn.logits.shape[0], drawn.window
    across, down = side / window.width, side / window.height
    matrix = np.array(
        (
            (across, 0, (region.left + 0.5 - window.left) * across - 0.5),
            (0, down, (region.top + 0.5 - window.top) * down - 0.5),
        )
    )
    size, flags = (region.width, region.height), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(drawn.logits, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32
    )


def _without(mask: Mask | None, region: Window, lost: NDArray[np.bool_]) -> Mask | None:
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


def _without_islands(logits: Plane) -> Plane:
    """The log-odds, made negative on parts that are small beside the largest one."""
    inside = (thinned(logits) > 0).view(np.uint8)
    count, parts, sizes, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
    if count <= 2:
        return logits
    areas = sizes[:, cv2.CC_STAT_AREA]
    small = areas < _ISLAND * areas[1:].max()
    small[0] = False
    if not small.any():
        return logits
    around = np.ones((3, 3), np.uint8)
    islands, kept = (
        np.asarray(cv2.dilate(part.view(np.uint8), around), np.uint8)
        for part in (small[parts], ~small[parts] & (parts > 0))
    )
    dropped = cv2.resize(islands & ~kept & 1, logits.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return np.where(np.asarray(dropped, np.uint8).view(np.bool_), np.minimum(logits, -np.abs(logits)), logits)
