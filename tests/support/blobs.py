"""Random small masks."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import strategies as st

from streamseg.masks import Bits

LONGEST_SIDE = 28
"""Of a mask, in pixels."""


@st.composite
def blobs(draw: st.DrawFn) -> Bits:
    """Masks with holes and parts, from single pixels of noise to smooth shapes, some up to the edge."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    noise = random.random((draw(st.integers(1, LONGEST_SIDE)), draw(st.integers(1, LONGEST_SIDE)))).astype(np.float32)
    smoothness = draw(st.sampled_from([0.0, 0.7, 1.5, 3.0]))
    if smoothness:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), smoothness), np.float32)
    bits: Bits = noise >= np.quantile(noise, draw(st.floats(0.05, 0.95)))
    return bits
