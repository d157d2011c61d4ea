"""From the decoder's logits to a mask of the frame, computed only where the mask can be.

SAM enlarges its logits to the network's input, crops the padding and resizes to the frame, both bilinear. Per axis that
is one narrow band matrix, so a rectangle of the frame depends only on the few logits under it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from streamseg.masks import Mask
from streamseg.models.segmenters.resizing import Size

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]

_STABILITY_OFFSET = 1.0
"""Stability compares the masks at this distance above and below the threshold, in logits."""
_ENLARGEMENT = 4
"""Side of a logit in pixels of the network's input."""
_BLOCK = 128
"""Pixels interpolated by one product: longer blocks multiply more zeros, shorter ones need more calls."""


@dataclass(frozen=True, slots=True, eq=False)
class _Axis:
    """Interpolation along one side of the frame.

    Attributes:
        weights: Shape (pixels, logits); rows sum to one.
        first: Shape (pixels,): the first logit with a weight in each pixel; does not decrease along the side.
        last: Shape (pixels,): the last one.
    """

    weights: Floats
    first: Integers
    last: Integers

    @classmethod
    def between(cls, logits: int, resized: int, pixels: int) -> Self:
        """Build the axis from the number of logits, the resized picture's length, and the frame's number of pixels."""
        enlarged = _sample(np.eye(logits), _centres(resized, 1 / _ENLARGEMENT))
        weights = _sample(enlarged, _centres(pixels, resized / pixels))
        seen = weights > 0
        return cls(weights.astype(np.float32), seen.argmax(axis=1), logits - 1 - seen[:, ::-1].argmax(axis=1))

    def reach(self, wanted: Integers) -> slice:
        """The range of pixels that depend on any of these logits, which are in rising order and not empty."""
        return slice(
            int(np.searchsorted(self.last, wanted[0])), int(np.searchsorted(self.first, wanted[-1], side="right"))
        )

    def blocks(self, pixels: slice) -> list[tuple[slice, slice, Floats]]:
        """Split pixels into blocks: the block's place in the result, its logits, and its weights."""
        found = []
        for start in range(pixels.start, pixels.stop, _BLOCK):
            stop = min(start + _BLOCK, pixels.stop)
            logits = slice(int(self.first[start]), int(self.last[stop - 1]) + 1)
            found.append((slice(start - pixels.start, stop - pixels.start), logits, self.weights[start:stop, logits]))
        return found


@dataclass(frozen=True, slots=True, eq=False)
class MaskDrawing:
    """Draws masks for one frame size; reuse it for all frames of that size."""

    rows: _Axis
    columns: _Axis

    @classmethod
    def between(cls, low: Size, resized: Size, original: Size) -> Self:
        """Prepare for frames of the size `original`.

        Args:
            low: Size of the logits: those of the whole input, or of its first rows and columns that cover the picture.
                The last row and column are repeated beyond the end.
            resized: Size of the resized picture, in pixels of the network's input.
            original: Size of the frame.
        """
        return cls(*(_Axis.between(*lengths) for lengths in zip(low, resized, original, strict=True)))

    def draw(self, logits: Floats) -> tuple[Mask, float] | None:
        """Convert logits of shape `low` to a mask and its stability: the IoU of the masks at logits 1 and -1.

        Returns:
            None if the mask is empty.
        """
        # Interpolation stays between its logits: where all are too low to count, nothing is computed.
        counts = logits > -_STABILITY_OFFSET
        if not counts.any():
            return None
        rows, columns = (
            self.rows.reach(np.flatnonzero(counts.any(axis=1))),
            self.columns.reach(np.flatnonzero(counts.any(axis=0))),
        )
        pixels = self._interpolate(logits, rows, columns)
        mask = Mask.crop(pixels > 0, columns.start, rows.start)
        if mask is None:
            return None
        # msgspec does not encode NumPy's numbers.
        return mask, float(np.count_nonzero(pixels > _STABILITY_OFFSET) / np.count_nonzero(pixels > -_STABILITY_OFFSET))

    def _interpolate(self, logits: Floats, rows: slice, columns: slice) -> Floats:
        tall = np.empty((rows.stop - rows.start, logits.shape[1]), dtype=np.float32)
        for place, seen, weights in self.rows.blocks(rows):
            np.matmul(weights, logits[seen], out=tall[place])
        pixels = np.empty((len(tall), columns.stop - columns.start), dtype=np.float32)
        for place, seen, weights in self.columns.blocks(columns):
            pixels[:, place] = tall[:, seen] @ weights.T
        return pixels


def _centres(count: int, step: float) -> Doubles:
    """Centres of `count` new samples, each `step` old samples long."""
    return (np.arange(count, dtype=np.float64) + 0.5) * step - 0.5


def _sample(table: Doubles, positions: Doubles) -> Doubles:
    """Interpolate between the table's rows, centred at 0, 1, ...; beyond the ends the outermost row is repeated."""
    inside = positions.clip(0, len(table) - 1)
    before = np.floor(inside).astype(np.int64)
    share = (inside - before)[:, None]
    after = np.minimum(before + 1, len(table) - 1)
    sampled: Doubles = table[before] * (1 - share) + table[after] * share
    return sampled
