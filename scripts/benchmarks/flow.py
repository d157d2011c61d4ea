"""Propagates masks by plain optical flow of whole frames: a rival, and a source of priors to measure with.

Source: Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016, as in OpenCV.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.masks import Mask
from streamseg.messages import Image

Flow = NDArray[np.float32]
"""Where each pixel of a frame was in the frame before: shape (height, width, 2), x and y in pixels."""
Coverage = NDArray[np.float32]
"""How much of each pixel belongs to the object: shape (height, width), 0 to 1."""
Grey = NDArray[np.uint8]


class FlowFinder:
    """Finds the flow between frames of one size."""

    def __init__(self, height: int, width: int) -> None:
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        self._pixels: Flow = np.dstack((columns, rows))
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def find(self, before: Grey, after: Grey) -> Flow:
        """Find the flow from one frame to the next."""
        return np.asarray(self._pixels + self._search.calc(after, before, np.zeros_like(self._pixels)), np.float32)


def grey(image: Image) -> Grey:
    """Convert a BGR frame to grey: shape (height, width)."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def coverage_of(mask: Mask, height: int, width: int) -> Coverage:
    """Spread a mask over its frame."""
    return mask.paste(height, width).astype(np.float32)


def warp(coverage: Coverage, flow: Flow) -> Coverage:
    """Move an object to the next frame."""
    # The flow holds both coordinates; OpenCV's stubs demand a second map.
    return np.asarray(cv2.remap(coverage, flow, None, cv2.INTER_LINEAR), np.float32)  # type: ignore[call-overload]


def mask_of(coverage: Coverage) -> Mask | None:
    """Return the pixels covered by more than half; None without any."""
    return Mask.crop(coverage > 0.5)
