"""Places the labels of objects, so that none covers another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

_ROWS: Final = 5
"""A label lies at most so many times its height away from its box."""


class Rectangle(NamedTuple):
    """A rectangle of whole pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int


class LabelPlaces:
    """The places of the labels in a picture of `width` x `height` pixels."""

    def __init__(self, width: int, height: int) -> None:
        self._width = width
        self._height = height
        # A number for each row, with a bit for each pixel: looking into an array takes several times as long.
        self._taken = [0] * height

    def take(self, box: Rectangle, width: int, height: int) -> Rectangle | None:
        """Take a free place for a label of an object.

        The first choice is above the upper left corner of the box. The corners of the box follow, outside and inside,
        then places a few rows further.

        Args:
            box: Of the object, inside the picture.
            width: Of the label in pixels.
            height: Of the label in pixels.

        Returns:
            The place, inside the picture unless the label is larger; None if no place near the box is free.
        """
        x_limit, y_limit = self._width - width, self._height - height
        for x, y in _corners(box, width, height):
            left, top = max(min(x, x_limit), 0), max(min(y, y_limit), 0)
            right, bottom = left + width, top + height
            bits = ((1 << width) - 1) << left
            if not any(row & bits for row in self._taken[top:bottom]):
                self._taken[top:bottom] = [row | bits for row in self._taken[top:bottom]]
                return Rectangle(left, top, right, bottom)
        return None


def _corners(box: Rectangle, width: int, height: int) -> Iterator[tuple[int, int]]:
    """Upper left corners of the places of a label, the best first."""
    left, top, right, bottom = box
    lefts = left, right - width
    for y in (top + 1 - height, bottom - 1, top, bottom - height):
        for x in lefts:
            yield x, y
    for rows in range(1, _ROWS):
        for y in (top + 1 - height - rows * height, bottom - 1 + rows * height):
            for x in lefts:
                yield x, y
