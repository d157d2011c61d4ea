"""The part of the network's square input that the image encoder computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from streamseg.models.segmenters.resizing import Size, resized_size

CELL = 16
"""Side of the square of input pixels that becomes one feature."""

CAMERA: Size = (720, 1280)
"""Height and width that exports are made for in advance: most cameras' shape."""

_MARGIN = 9
"""Minimum cells of padding to compute below or beside the picture, which influences its neighbourhood."""
_STEP = 8
"""Rows and columns are rounded up to multiples of this many cells, so that all picture shapes share a few grids."""


@dataclass(frozen=True, slots=True)
class InputGrid:
    """The cells of the input that are computed, from its top left. The rest is padding, whose features are constant.

    Attributes:
        side: Cells along each side of the whole input.
        rows: Computed rows of cells.
        columns: Computed columns of cells; all of them if `rows` are fewer than `side`.
    """

    side: int
    rows: int
    columns: int

    @classmethod
    def whole(cls, imgsz: int) -> Self:
        """Cover a whole input of `imgsz` by `imgsz` pixels."""
        return cls(imgsz // CELL, imgsz // CELL, imgsz // CELL)

    @classmethod
    def around(cls, resized_height: int, resized_width: int) -> Self:
        """Cover what a picture of this size needs after resizing; its longer side is the input's."""
        side = max(resized_height, resized_width) // CELL
        return cls(side, _computed(resized_height, side), _computed(resized_width, side))

    @classmethod
    def of_picture(cls, size: Size, imgsz: int) -> Self:
        """Cover what a picture of any size needs in an input of `imgsz` by `imgsz` pixels."""
        return cls.around(*resized_size(size, imgsz))

    def covers(self, other: InputGrid) -> bool:
        """Whether every cell of another grid is one of this."""
        return self.side == other.side and self.rows >= other.rows and self.columns >= other.columns

    @property
    def drawn_rows(self) -> int:
        """Rows of cells, from the top, that masks are decoded on."""
        return _drawn(self.rows, self.side)

    @property
    def drawn_columns(self) -> int:
        """Columns of cells, from the left, that masks are decoded on."""
        return _drawn(self.columns, self.side)

    @property
    def height(self) -> int:
        """Rows of pixels to read: the convolutions before the first windows reach past the last cell."""
        return CELL * min(self.rows + 1, self.side)

    @property
    def width(self) -> int:
        """Columns of pixels to read."""
        return CELL * min(self.columns + 1, self.side)

    def __str__(self) -> str:
        return f"{self.side}-{self.rows}x{self.columns}"


def _computed(length: int, side: int) -> int:
    # Masks are interpolated: the last line lies between the picture's last cell and the next.
    needed = -(-(length + 2) // CELL) + _MARGIN
    return min(-(-needed // _STEP) * _STEP, side)


def _drawn(computed: int, side: int) -> int:
    return computed - _MARGIN if computed < side else side
