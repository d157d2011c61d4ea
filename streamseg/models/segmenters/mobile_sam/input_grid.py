"""Which part of the network's square input goes through the image encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from streamseg.models.segmenters.resizing import Size, resized_size

CELL = 16
"""Pixels of the input, along each side, that become one feature."""

CAMERA: Size = (720, 1280)
"""Height and width of the picture for which everything is made ready beforehand: most cameras' shape."""

_MARGIN = 9
"""Cells of padding that are still computed below or beside the picture, at least: the picture changes what is next to it."""
_STEP = 8
"""Rows or columns are computed in multiples of so many cells, so that pictures of all shapes come to a few grids."""


@dataclass(frozen=True, slots=True)
class InputGrid:
    """The cells of the input, side by side from its top left, that are computed; the rest is padding, whose features are known.

    Attributes:
        side: Cells along each side of the whole input.
        rows: Rows of cells that are computed.
        columns: Columns of them; never fewer than the whole where `rows` are.
    """

    side: int
    rows: int
    columns: int

    @classmethod
    def whole(cls, imgsz: int) -> Self:
        """All of an input of `imgsz` by `imgsz` pixels."""
        return cls(imgsz // CELL, imgsz // CELL, imgsz // CELL)

    @classmethod
    def around(cls, resized_height: int, resized_width: int) -> Self:
        """As little as a picture needs that was resized to these sides, the longer of which is the input's."""
        side = max(resized_height, resized_width) // CELL
        return cls(side, _computed(resized_height, side), _computed(resized_width, side))

    @classmethod
    def of_picture(cls, size: Size, imgsz: int) -> Self:
        """The same before resizing: of a picture of any size, for an input of `imgsz` by `imgsz` pixels."""
        return cls.around(*resized_size(size, imgsz))

    @property
    def drawn_rows(self) -> int:
        """Rows of cells, from the top, that masks are drawn from."""
        return _drawn(self.rows, self.side)

    @property
    def drawn_columns(self) -> int:
        """Columns of cells, from the left, that masks are drawn from."""
        return _drawn(self.columns, self.side)

    @property
    def height(self) -> int:
        """Rows of pixels that are read: the convolutions before the first windows look past the last cell."""
        return CELL * min(self.rows + 1, self.side)

    @property
    def width(self) -> int:
        """Columns of pixels that are read."""
        return CELL * min(self.columns + 1, self.side)

    def __str__(self) -> str:
        return f"{self.side}-{self.rows}x{self.columns}"


def _computed(length: int, side: int) -> int:
    # A mask is interpolated: its last line is between the picture's last cell and the next.
    needed = -(-(length + 2) // CELL) + _MARGIN
    return min(-(-needed // _STEP) * _STEP, side)


def _drawn(computed: int, side: int) -> int:
    return computed - _MARGIN if computed < side else side
