"""One mask: a rectangle of the frame and the bits inside it.

Coordinates are pixels of the frame, origin at the top left, x to the right, y down. The rectangle is tight, and it may
leave the box that prompted the mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, TypedDict

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.bool_]
Polygon = NDArray[np.float32]


class CocoRle(TypedDict):
    """COCO's compressed run-length encoding of a whole frame, as `json` and pycocotools take it.

    Keys:
        size: Height and width of the frame in pixels.
        counts: The compressed runs.
    """

    size: list[int]
    counts: str


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A non-empty binary mask, cropped to the smallest rectangle that holds it.

    Attributes:
        x: Left edge of the rectangle, in pixels of the frame.
        y: Top edge of the rectangle, in pixels of the frame.
        bits: Shape (height, width), bool; the rectangle's content.
    """

    x: int
    y: int
    bits: Bits

    def __post_init__(self) -> None:
        if self.bits.ndim != 2 or self.bits.dtype != np.bool_ or self.bits.size == 0:
            raise ValueError(
                f"mask bits must be a non-empty (height, width) bool array, not {self.bits.dtype}{self.bits.shape}"
            )
        if self.x < 0 or self.y < 0:
            raise ValueError(f"a mask's rectangle must start inside the frame, not at ({self.x}, {self.y})")

    @classmethod
    def crop(cls, full: NDArray[np.generic], x: int = 0, y: int = 0) -> Self | None:
        """Make the tight mask of `full`, or None where no pixel is set.

        Args:
            full: Shape (height, width); every value other than zero belongs to the mask.
            x: Frame column of `full`'s first column.
            y: Frame row of `full`'s first row.
        """
        import cv2

        bits = full if full.dtype == np.bool_ else full != 0
        if not bits.size:
            return None
        left, top, width, height = cv2.boundingRect(bits.view(np.uint8))
        return (
            cls(x + left, y + top, np.array(bits[top : top + height, left : left + width], order="C"))
            if width
            else None
        )

    @property
    def width(self) -> int:
        """Width of the rectangle in pixels."""
        return int(self.bits.shape[1])

    @property
    def height(self) -> int:
        """Height of the rectangle in pixels."""
        return int(self.bits.shape[0])

    @property
    def area(self) -> int:
        """Number of pixels that belong to the mask."""
        return int(np.count_nonzero(self.bits))

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """The rectangle as left, top, right, bottom; the last two exclusive."""
        return float(self.x), float(self.y), float(self.x + self.width), float(self.y + self.height)

    def paste(self, height: int, width: int) -> Bits:
        """The mask over a whole frame: shape (height, width), bool. What lies outside the frame is cut off."""
        full = np.zeros((height, width), dtype=np.bool_)
        inside = full[self.y : self.y + self.height, self.x : self.x + self.width]
        inside[:] = self.bits[: inside.shape[0], : inside.shape[1]]
        return full

    def inside(self, height: int, width: int) -> bool:
        """Whether the whole rectangle lies in a frame of that size."""
        return self.x + self.width <= width and self.y + self.height <= height

    def iou(self, other: Mask) -> float:
        """Intersection over union with another mask of the same frame, 0 to 1."""
        left, top = max(self.x, other.x), max(self.y, other.y)
        right = min(self.x + self.width, other.x + other.width)
        bottom = min(self.y + self.height, other.y + other.height)
        if right <= left or bottom <= top:
            return 0.0
        mine = self.bits[top - self.y : bottom - self.y, left - self.x : right - self.x]
        theirs = other.bits[top - other.y : bottom - other.y, left - other.x : right - other.x]
        intersection = int(np.count_nonzero(mine & theirs))
        return intersection / (self.area + other.area - intersection)

    def pack(self) -> bytes:
        """The bits, row by row, most significant bit first, each row padded to whole bytes."""
        # Padding first costs half of what packing along an axis does.
        padded = np.zeros((self.height, (self.width + 7) // 8 * 8), dtype=np.bool_)
        padded[:, : self.width] = self.bits
        return np.packbits(padded).tobytes()

    @classmethod
    def unpack(cls, x: int, y: int, width: int, height: int, packed: bytes | memoryview) -> Self:
        """The inverse of `pack`.

        Raises:
            ValueError: `packed` has not exactly height * ceil(width / 8) bytes, or a side is not positive.
        """
        stride = (width + 7) // 8
        if width <= 0 or height <= 0 or len(packed) != stride * height:
            raise ValueError(f"{len(packed)} bytes do not hold a mask of {width}x{height}")
        rows = np.frombuffer(packed, dtype=np.uint8).reshape(height, stride)
        return cls(x, y, np.unpackbits(rows, axis=1, count=width).view(np.bool_))

    def rle(self, height: int, width: int) -> CocoRle:
        """COCO's compressed run-length encoding over a frame of that size; what lies outside the frame is cut off.

        From the fourth on, each of `runs` is stored as its difference to the run two before, in groups of five bits from the
        lowest up (the format of COCO's `maskApi.c`).
        """
        return {"size": [height, width], "counts": _compress_runs(self.runs(height, width))}

    def runs(self, height: int, width: int) -> NDArray[np.int64]:
        """COCO's uncompressed run-length encoding over a frame of that size; what lies outside the frame is cut off.

        Runs go down the columns and begin with a run of zeros. Only the mask's rectangle is read, so the cost does not grow with
        the frame.
        """
        inside = self.bits[: max(0, height - self.y), : max(0, width - self.x)]
        rows, columns = inside.shape
        padded = np.zeros((columns, rows + 2), dtype=np.bool_)
        padded[:, 1:-1] = inside.T
        changes = np.flatnonzero(padded[:, 1:] != padded[:, :-1])
        column = changes // (rows + 1)
        edges = changes + column * (height - rows - 1) + (self.x * height + self.y)
        # A run that reaches the frame's last row may go on at the top of the next column.
        joined = 2 * np.flatnonzero(edges[1:-1:2] == edges[2::2]) + 1
        edges = np.delete(edges, np.concatenate((joined, joined + 1)))
        runs = np.diff(edges, prepend=0, append=height * width)
        return runs[:-1] if runs.size > 1 and runs[-1] == 0 else runs

    def polygons(self) -> list[Polygon]:
        """Outer outlines of the mask's parts, each of shape (points, 2), in frame coordinates. Holes are not kept."""
        import cv2

        outlines, _ = cv2.findContours(self.bits.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        offset = np.array([self.x, self.y], dtype=np.float32)
        return [outline.reshape(-1, 2).astype(np.float32) + offset for outline in outlines if len(outline) >= 3]


def _compress_runs(runs: NDArray[np.int64]) -> str:
    values = runs.astype(np.int64)
    values[3:] -= runs[1:-2]
    magnitude = np.where(values < 0, ~values, values)[:, None]
    # Seven groups of five bits hold every run of a frame; a number takes as many as leave its sign in the last one's top bit.
    group = np.arange(7)
    more = magnitude >> (5 * group + 4) > 0
    needed = np.concatenate((np.ones_like(magnitude, dtype=np.bool_), more[:, :-1]), axis=1)
    text: bytes = (((values[:, None] >> (5 * group)) & 0x1F) + 0x20 * more + 48)[needed].astype(np.uint8).tobytes()
    return text.decode("ascii")
