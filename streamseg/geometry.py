"""Boxes of a picture: `(x_min, y_min, x_max, y_max)` in its pixels, the last two exclusive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]


def box_area(box: Box) -> float:
    """Area in square pixels; 0 for a box whose edges are in the wrong order."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def intersection(first: Box, second: Box) -> Box:
    """The box that both cover; its area is 0 if they have none in common."""
    return max(first[0], second[0]), max(first[1], second[1]), min(first[2], second[2]), min(first[3], second[3])


def enclosing_box(first: Box, second: Box) -> Box:
    """The smallest box around both."""
    return min(first[0], second[0]), min(first[1], second[1]), max(first[2], second[2]), max(first[3], second[3])


def clip_box(box: Box, width: float, height: float) -> Box | None:
    """The part of a box inside a picture of that size; None if nothing of it is."""
    clipped = intersection(box, (0.0, 0.0, float(width), float(height)))
    return clipped if box_area(clipped) > 0 else None


def clamp_box(box: Box, width: float, height: float) -> Box:
    """The box with every edge moved into a picture of that size; without area on its rim if nothing of it is inside."""
    left, top, right, bottom = box
    return (
        min(max(left, 0.0), width),
        min(max(top, 0.0), height),
        min(max(right, 0.0), width),
        min(max(bottom, 0.0), height),
    )


def box_iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    common = box_area(intersection(first, second))
    return common / (box_area(first) + box_area(second) - common) if common > 0 else 0.0


def meeting_pairs(first: Sequence[Box], second: Sequence[Box]) -> list[tuple[int, int]]:
    """The pairs of a box of the one list and a box of the other that have area in common, by their places, in order."""
    if not first or not second:
        return []
    rows, columns = np.nonzero(_meet(_array(first), _array(second)))
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def similar_pairs(first: Sequence[Box], second: Sequence[Box], least: float) -> list[tuple[int, int]]:
    """Those pairs whose `box_iou` is at least that, which is above 0."""
    pairs = overlaps(first, second)
    alike = pairs.iou >= least
    return list(zip(pairs.rows[alike].tolist(), pairs.columns[alike].tolist(), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Overlaps:
    """The n pairs of a box of one list and a box of another that have area in common, in order.

    Attributes:
        rows: Shape (n,): places in the first list.
        columns: Shape (n,): places in the second.
        iou: Shape (n,): their `box_iou`.
        covered: Shape (n,): share of the first box that the second covers.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    iou: NDArray[np.float64]
    covered: NDArray[np.float64]


def overlaps(first: Sequence[Box], second: Sequence[Box]) -> Overlaps:
    """How much the boxes of two lists overlap."""
    ones, others = _array(first), _array(second)
    rows, columns = np.divmod(np.flatnonzero(_meet(ones, others)), max(len(others), 1))
    one, other = ones.take(rows, 0), others.take(columns, 0)
    sides = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
    common, own, their = sides[:, 0] * sides[:, 1], box_areas(one), box_areas(other)
    return Overlaps(rows, columns, common / (own + their - common), common / own)


def _array(boxes: Sequence[Box]) -> NDArray[np.float64]:
    return np.array(boxes, np.float64).reshape(-1, 4)


def box_areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The areas of n boxes with edges in the right order: from shape (n, 4) to (n,)."""
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), np.float64)


def _meet(ones: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether box `i` and box `j` have area in common: shape (ones, others). A tree would not be faster."""
    across, down = (
        np.maximum(ones[:, None, low], others[None, :, low]) < np.minimum(ones[:, None, high], others[None, :, high])
        for low, high in ((0, 2), (1, 3))
    )
    return np.asarray(across & down, np.bool_)
