"""Masks moved and scaled with the boxes of their objects: the cheap way to a newer frame, without its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import Box
from streamseg.masks import Mask


class Move(NamedTuple):
    """A mask of a frame in which its object's box was `before`, to be moved to a newer one in which it is `after`."""

    mask: Mask
    before: Box
    after: Box


def moved_masks(moves: Sequence[Move], width: int, height: int) -> list[Mask | None]:
    """Move masks as their objects' boxes moved; None if nothing of one is inside the frame.

    All places are computed at once: for one mask, a call of numpy costs more than its arithmetic.

    Args:
        moves: The masks, and their boxes in pixels.
        width: Of the newer frame, in pixels.
        height: Of the newer frame, in pixels.
    """
    if not moves:
        return []
    before, after = _array([move.before for move in moves]), _array([move.after for move in moves])
    rectangles = _array([(mask.x, mask.y, mask.width, mask.height) for mask, _, _ in moves])
    scale = _sides(after) / _sides(before)
    exact = after[:, :2] + (rectangles[:, :2] - before[:, :2]) * scale
    whole = np.rint(exact)
    ends = whole + np.maximum(np.rint(rectangles[:, 2:] * scale), 1)
    first, last = np.maximum(whole, 0).astype(int), np.minimum(ends, (width, height)).astype(int)
    unscaled = ((last - first) == rectangles[:, 2:]).all(axis=1) & ((whole == first) & (ends == last)).all(axis=1)
    found: list[Mask | None] = [None] * len(moves)
    for place in np.flatnonzero(unscaled).tolist():
        left, top = first[place].tolist()
        found[place] = Mask(left, top, moves[place].mask.bits)
    scaled = np.flatnonzero(~unscaled & (first < last).all(axis=1))
    sampled = _sampled(first[scaled], last[scaled], exact[scaled], scale[scaled], rectangles[scaled, 2:])
    for place, ((columns, left), (rows, top)) in zip(scaled.tolist(), sampled, strict=True):
        found[place] = _cropped(moves[place].mask.bits.take(rows, 0).take(columns, 1), left, top)
    return found


def _sampled(
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    exact: NDArray[np.float64],
    scale: NDArray[np.float64],
    sizes: NDArray[np.float64],
) -> list[tuple[_Line, _Line]]:
    """Along x and y of n scaled masks, which of their pixels is nearest to each pixel of the newer frame.

    Args:
        first: Shape (n, 2): the first pixel in the newer frame.
        last: Shape (n, 2): the one behind the last.
        exact: Shape (n, 2): where the mask begins there.
        scale: Shape (n, 2).
        sizes: Shape (n, 2): of the masks.
    """
    lengths = (last - first).ravel()
    ends = np.cumsum(lengths)
    starts = ends - lengths
    pixels = np.arange(lengths.sum()) + np.repeat(first.ravel() - starts, lengths)
    back = (pixels + 0.5 - np.repeat(exact.ravel(), lengths)) / np.repeat(scale.ravel(), lengths) - 0.5
    nearest = np.rint(back).astype(int)
    # Where rounding made the rectangle larger than the mask, there is none at its ends.
    below = np.add.reduceat(nearest < 0, starts) if len(starts) else starts
    above = np.add.reduceat(nearest >= np.repeat(sizes.ravel(), lengths), starts) if len(starts) else starts
    lines = [
        (nearest[start:end], at)
        for start, end, at in zip(
            (starts + below).tolist(), (ends - above).tolist(), (first.ravel() + below).tolist(), strict=True
        )
    ]
    return list(zip(lines[::2], lines[1::2], strict=True))


_Line = tuple[NDArray[np.int64], int]
"""Numbers of a mask's columns or rows, and the column or row of the newer frame at which they begin."""


def _cropped(bits: NDArray[np.bool_], x: int, y: int) -> Mask | None:
    left, top, width, height = cv2.boundingRect(bits.view(np.uint8)) if bits.size else (0, 0, 0, 0)
    return Mask(x + left, y + top, bits[top : top + height, left : left + width]) if width else None


def _array(boxes: Sequence[tuple[float, float, float, float]]) -> NDArray[np.float64]:
    return np.array(boxes, np.float64)


def _sides(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
