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
        self._taken: list[Rectangle] = []
        self._hindered: dict[int, list[int]] = {}
        """For labels of a height, by the row of their upper edge: a number with a bit for each column that is taken
        somewhere below. Looking into an array takes several times as long."""

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
        hindered = self._rows(height)
        lowest, bits = max(self._height - height, 0), (1 << width) - 1
        lefts = [max(min(x, self._width - width), 0) for x in (box.left, box.right - width)]
        columns = [(left, bits << left) for left in lefts]
        for y in _upper_edges(box, height):
            top = 0 if y < 0 else min(y, lowest)
            for left, taken in columns:
                if not hindered[top] & taken:
                    place = Rectangle(left, top, left + width, top + height)
                    self._taken.append(place)
                    for label_height, rows in self._hindered.items():
                        _hinder(rows, place, label_height)
                    return place
        return None

    def _rows(self, height: int) -> list[int]:
        """What hinders labels of that height."""
        if height not in self._hindered:
            self._hindered[height] = [0] * max(self._height, 1)
            for place in self._taken:
                _hinder(self._hindered[height], place, height)
        return self._hindered[height]


def _hinder(rows: list[int], place: Rectangle, height: int) -> None:
    """Note that a place is taken, for labels of that height."""
    bits, met = ((1 << place.right - place.left) - 1) << place.left, slice(max(place.top - height + 1, 0), place.bottom)
    rows[met] = [row | bits for row in rows[met]]


def _upper_edges(box: Rectangle, height: int) -> Iterator[int]:
    """The upper edges of the places of a label, the best first."""
    yield from (box.top + 1 - height, box.bottom - 1, box.top, box.bottom - height)
    for rows in range(1, _ROWS):
        yield from (box.top + 1 - height - rows * height, box.bottom - 1 + rows * height)
