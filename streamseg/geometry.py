"""Boxes of a picture: `(x_min, y_min, x_max, y_max)` in its pixels, the last two exclusive."""

from __future__ import annotations

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
