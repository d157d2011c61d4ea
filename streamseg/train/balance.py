"""How often training draws each object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamseg.masks import Mask
from streamseg.train.outlines import Photograph

BALANCE: Final = 0.2
"""An object of a class of which a source has n is drawn n to the power of minus this as often: at 0 only their number
counts, at 1 all classes of all sources alike."""
_SMALL_OBJECT = 96.0
"""Longer side in pixels below which an object is drawn less often: outlines of small ones are coarse."""
_RAREST = 0.35
"""How often the smallest objects are drawn, beside large ones."""


def shares(photographs: Sequence[Photograph]) -> NDArray[np.float64]:
    """The share of the samples for each object, photograph by photograph: shape (objects,), with the sum 1."""
    groups = [(photograph.source, name) for photograph in photographs for name in photograph.classes]
    sizes = Counter(groups)
    masks = [mask for photograph in photographs for mask in photograph.masks]
    weights = np.array(
        [_worth(mask) * sizes[group] ** -BALANCE for mask, group in zip(masks, groups, strict=True)], np.float64
    )
    return np.asarray(weights / weights.sum(), np.float64)


def _worth(mask: Mask) -> float:
    """How much an outline teaches: little if it is coarse, much if it fills little of its box."""
    filled = mask.area / (mask.width * mask.height)
    return min(max(max(mask.width, mask.height) / _SMALL_OBJECT, _RAREST), 1.0) * (1.5 - filled)
