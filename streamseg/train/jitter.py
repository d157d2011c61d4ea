"""Boxes that are a little off, as detectors' are."""

from __future__ import annotations

from typing import Final

import numpy as np

from streamseg.messages import Box

DETECTOR_SPREAD: Final = 0.05
"""Of the edges that a fair detector finds, as a share of the box's sides."""


def jittered(box: Box, spread: float, rng: np.random.Generator) -> Box:
    """A box each of whose edges is off by chance; `spread` is the standard deviation, as a share of the box's sides."""
    width, height = box[2] - box[0], box[3] - box[1]
    left, top, right, bottom = np.array(box) + rng.normal(0, spread, 4) * (width, height, width, height)
    return float(left), float(top), float(right), float(bottom)
