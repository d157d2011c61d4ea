"""The mask of an object: a tight rectangle of the frame and the bits inside it.

Coordinates are pixels of the frame, with the origin at the top left, x to the right and y down. The rectangle may
extend beyond the box that prompted the mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self, TypedDict

import numpy as np
from numpy.typing import NDArray

from streamseg.extras import needed_for
from streamseg.geometry import Box
from streamseg.rings import TO_ROUND, Bits, Placement, Polygon, cut_open, outer_rings

__all__ = ["Bits", "CocoRle", "Mask", "Polygon"]

_BITS_SET: Final = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)
"""How many bits are set in each byte."""
_BAND_PIXELS: Final = 128 * 1024
"""Of the columns whose runs are found at once."""


class CocoRle(TypedDict):
    """COCO's compressed run-length encoding of a whole frame, as `json` and pycocotools take it.

    Keys:
        size: Height and width of the frame in pixels.
        counts: The compressed runs.
    """

    size: list[int]
    counts: str


@dataclass(frozen=True, eq=False)
class Mask:
    """A non-empty binary mask, cropped to its smallest rectangle.

        mask = result.objects[0].mask
        picture[mask.paste(result.height, result.width)] = (0, 0, 255)


    Attributes:
        x: Left edge of the rectangle, in pixels of the frame.
        y: Top edge of the rectangle, in pixels of the frame.
        bits: Shape (height, width), bool.
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
        """Crop an array to its tight mask; None if no pixel is set.

        Args:
            full: Shape (height, width); nonzero values belong to the mask.
            x: Column of the frame at which `full` starts.
            y: Row of the frame at which `full` starts.
        """
        with needed_for("cropping a mask"):
            import cv2

        bits = full if full.dtype == np.bool_ else full != 0
        if not bits.size:
            return None
        left, top, width, height = cv2.boundingRect(bits.view(np.uint8))
        if not width:
            return None
        return cls(x + left, y + top, np.array(bits[top : top + height, left : left + width], order="C"))

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
        """Number of pixels."""
        return int(np.count_nonzero(self.bits))

    @property
    def xyxy(self) -> Box:
        """The rectangle as left, top, right, bottom; the last two exclusive."""
        return float(self.x), float(self.y), float(self.x + self.width), float(self.y + self.height)

    def paste(self, height: int, width: int) -> Bits:
        """The mask of a whole frame of that size: shape (height, width), bool. Pixels outside the frame are cut off."""
        full = np.zeros((height, width), dtype=np.bool_)
        inside = full[self.y : self.y + self.height, self.x : self.x + self.width]
        inside[:] = self.bits[: inside.shape[0], : inside.shape[1]]
        return full

    def inside(self, height: int, width: int) -> bool:
        """Whether the rectangle lies inside a frame of that size."""
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
        """Pack the bits row by row, most significant bit first, each row padded to whole bytes."""
        # Twice as fast as packing along an axis.
        padded = np.zeros((self.height, (self.width + 7) // 8 * 8), dtype=np.bool_)
        padded[:, : self.width] = self.bits
        return np.packbits(padded).tobytes()

    @staticmethod
    def unpack(x: int, y: int, width: int, height: int, packed: bytes | memoryview) -> Mask:
        """Make a mask from the bytes of `pack`; it takes an eighth of the memory until its bits are used.

        Raises:
            ValueError: A side is not positive, or `packed` does not have height * ceil(width / 8) bytes.
        """
        return _PackedMask(x, y, width, height, packed)

    def rle(self, height: int, width: int) -> CocoRle:
        """COCO's compressed run-length encoding for a frame of that size. Pixels outside the frame are cut off.

        From the fourth run on, each run is stored as its difference from the run two before, in groups of five bits,
        the lowest first (COCO's `maskApi.c`).
        """
        return {"size": [height, width], "counts": "".join(_compress_runs(self._runs(height, width)))}

    def short_rle(self, height: int, width: int, longest: int) -> CocoRle | None:
        """As `rle`; None, after little work, if `counts` would have more than `longest` characters."""
        counts = ""
        for part in _compress_runs(self._runs(height, width)):
            counts += part
            if len(counts) > longest:
                return None
        return {"size": [height, width], "counts": counts}

    def runs(self, height: int, width: int) -> NDArray[np.int64]:
        """COCO's uncompressed run-length encoding for a frame of that size. Pixels outside the frame are cut off.

        Runs go down the columns, starting with a run of zeros. The cost depends on the rectangle, not on the frame.
        """
        return np.concatenate(list(self._runs(height, width)))

    def _runs(self, height: int, width: int) -> Iterator[NDArray[np.int64]]:
        """The runs in pieces, each from a band of columns: a mask may have as many runs as pixels."""
        end = 0
        for edges in self._edges(height, width):
            yield np.diff(edges, prepend=end)
            end = int(edges[-1])
        if end < height * width:
            yield np.array([height * width - end], dtype=np.int64)

    def _edges(self, height: int, width: int) -> Iterator[NDArray[np.int64]]:
        """The pixels of the frame, counted down the columns, that differ from the one before; never an empty array."""
        inside = self.bits[: max(0, height - self.y), : max(0, width - self.x)]
        rows, columns = inside.shape
        gap = rows < height  # one row of zeros stands for the pixels between two columns
        stride = rows + gap
        band = max(1, _BAND_PIXELS // stride)
        last = False
        for first in range(0, columns, band):
            part = inside[:, first : first + band].T
            down = np.zeros(1 + len(part) * stride, dtype=np.bool_)
            down[0] = last
            down[1:].reshape(-1, stride)[:, :rows] = part
            last = bool(down[-1])
            changes = np.flatnonzero(down[1:] != down[:-1])
            if changes.size:
                column = self.x + first + changes // stride
                yield changes % stride + column * height + self.y
        if last:
            yield np.array([(self.x + columns) * height], dtype=np.int64)

    def polygons(self) -> list[Polygon]:
        """Polygons around the mask's parts, each of shape (points, 2), in pixels of the frame; holes are covered.

        None of them crosses or touches itself. A corner lies within a pixel of the mask: rounded, or without its
        decimals, it is that pixel.
        """
        return outer_rings(self.bits, self.x, self.y, TO_ROUND)

    def polygons_without_holes(self, placement: Placement, smallest: int = 1) -> list[Polygon]:
        """As `polygons`, but a slit between two columns of pixels leads to each hole, so that nothing is covered.

        Args:
            placement: Of the corners: `AROUND_CENTRES` for COCO's readers, `TO_ROUND` for others.
            smallest: Parts of fewer pixels are left out, except for the largest one.
        """
        return cut_open(self.bits, self.x, self.y, placement, smallest)


class _PackedMask(Mask):
    """A mask that unpacks its bits on first use: a short message may hold masks of many pixels."""

    _size: tuple[int, int]
    _packed: bytes

    def __init__(self, x: int, y: int, width: int, height: int, packed: bytes | memoryview) -> None:
        stride = (width + 7) // 8
        if x < 0 or y < 0 or width <= 0 or height <= 0 or len(packed) != stride * height:
            raise ValueError(f"{len(packed)} bytes do not hold a mask of {width}x{height} at ({x}, {y})")
        if width % 8:  # a sender may set the bits behind the last column
            rows = np.frombuffer(packed, dtype=np.uint8).reshape(height, stride).copy()
            rows[:, -1] &= 0xFF << 8 - width % 8 & 0xFF
            packed = rows.tobytes()
        vars(self).update(x=x, y=y, _size=(width, height), _packed=bytes(packed))

    @cached_property
    def bits(self) -> Bits:
        rows = np.frombuffer(self._packed, dtype=np.uint8).reshape(self.height, -1)
        return np.unpackbits(rows, axis=1, count=self.width).view(np.bool_)

    @property
    def width(self) -> int:
        return self._size[0]

    @property
    def height(self) -> int:
        return self._size[1]

    @property
    def area(self) -> int:
        return int(_BITS_SET[np.frombuffer(self._packed, dtype=np.uint8)].sum())

    def pack(self) -> bytes:
        return self._packed


def _compress_runs(pieces: Iterable[NDArray[np.int64]]) -> Iterator[str]:
    before = np.zeros(2, dtype=np.int64)
    for place, runs in enumerate(pieces):
        subtracted = np.concatenate((before, runs))
        if place == 0:
            subtracted[2] = 0  # nothing is subtracted from the third run
        yield _compress(runs - subtracted[:-2])
        before = subtracted[-2:]


def _compress(values: NDArray[np.int64]) -> str:
    magnitude = np.where(values < 0, ~values, values)[:, None]
    # The top bit of a number's last group is its sign.
    group = np.arange(int(magnitude.max()).bit_length() // 5 + 1)
    more = magnitude >> (5 * group + 4) > 0
    needed = np.concatenate((np.ones_like(magnitude, dtype=np.bool_), more[:, :-1]), axis=1)
    text: bytes = (((values[:, None] >> (5 * group)) & 0x1F) + 0x20 * more + 48)[needed].astype(np.uint8).tobytes()
    return text.decode("ascii")
