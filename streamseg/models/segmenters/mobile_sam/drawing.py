"""From the decoder's logits to a mask of the frame, worked out only where the mask can be.

SAM enlarges its logits to the network's input, cuts off the padding and resizes to the frame, both bilinear. Each axis of that is one
matrix with a narrow band, so that any rectangle of the frame can be had from the few logits under it.
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
"""As far from the threshold are the two masks that a mask's stability compares, in logits."""
_ENLARGEMENT = 4
"""Pixels of the network's input a logit covers, a side."""
_BLOCK = 128
"""Pixels of the frame that are interpolated by one product: a longer one multiplies more zeros, shorter ones are more calls."""


@dataclass(frozen=True, slots=True, eq=False)
class _Axis:
    """How pixels along one side of the frame mix logits.

    Attributes:
        weights: Shape (pixels, logits); rows sum to one.
        first: Shape (pixels,): the first logit that a pixel sees; never falls from one pixel to the next.
        last: Shape (pixels,): the last one.
    """

    weights: Floats
    first: Integers
    last: Integers

    @classmethod
    def between(cls, logits: int, resized: int, pixels: int) -> Self:
        """Make the axis of a frame with that many pixels, of the picture's resized length, from that many logits."""
        enlarged = _sample(np.eye(logits), _centres(resized, 1 / _ENLARGEMENT))
        weights = _sample(enlarged, _centres(pixels, resized / pixels))
        seen = weights > 0
        return cls(weights.astype(np.float32), seen.argmax(axis=1), logits - 1 - seen[:, ::-1].argmax(axis=1))

    def reach(self, wanted: Integers) -> slice:
        """The pixels that see one of these logits, given in rising order and at least one, or lie between such pixels."""
        return slice(
            int(np.searchsorted(self.last, wanted[0])), int(np.searchsorted(self.first, wanted[-1], side="right"))
        )

    def blocks(self, pixels: slice) -> list[tuple[slice, slice, Floats]]:
        """The pixels in blocks: where in the answer a block lies, the logits that it sees, and its weights."""
        found = []
        for start in range(pixels.start, pixels.stop, _BLOCK):
            stop = min(start + _BLOCK, pixels.stop)
            logits = slice(int(self.first[start]), int(self.last[stop - 1]) + 1)
            found.append((slice(start - pixels.start, stop - pixels.start), logits, self.weights[start:stop, logits]))
        return found


@dataclass(frozen=True, slots=True, eq=False)
class MaskDrawing:
    """Draws masks for one size of frame; make it once and keep it."""

    rows: _Axis
    columns: _Axis

    @classmethod
    def between(cls, low: Size, resized: Size, original: Size) -> Self:
        """Make it for frames of the size `original`.

        Args:
            low: Of the logits: those over the network's input, or as many of its first rows and columns as cover the picture. The last row
                and column stand for what would follow them.
            resized: The picture's as the network saw it, in pixels of the network's input.
            original: The frame's.
        """
        return cls(*(_Axis.between(*lengths) for lengths in zip(low, resized, original, strict=True)))

    def draw(self, logits: Floats) -> tuple[Mask, float] | None:
        """Turn logits of shape `low` into the mask of the frame and its stability: the IoU of the masks at logits 1 and -1.

        Returns:
            None where no pixel belongs to the mask.
        """
        # A pixel is between the logits that it sees: where they are too low to count for anything, nothing is worked out.
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
        # NumPy's own numbers are no floats to msgspec.
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
    """Where the centres of `count` new samples lie, each `step` old ones long."""
    return (np.arange(count, dtype=np.float64) + 0.5) * step - 0.5


def _sample(table: Doubles, positions: Doubles) -> Doubles:
    """Interpolate between the table's rows, whose centres lie at 0, 1, ...; beyond the ends the last row holds."""
    inside = positions.clip(0, len(table) - 1)
    before = np.floor(inside).astype(np.int64)
    share = (inside - before)[:, None]
    after = np.minimum(before + 1, len(table) - 1)
    sampled: Doubles = table[before] * (1 - share) + table[after] * share
    return sampled
