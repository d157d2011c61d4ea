"""Masks carried by plain optical flow, as priors to measure with.

Source: Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016, as in OpenCV.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.bench.truth import Sequence
from streamseg.images import read_image
from streamseg.masks import Mask

Flow = NDArray[np.float32]


def flows(sequence: Sequence) -> list[Flow]:
    """For each frame but the first, where each of its pixels was in the frame before: shape (height, width, 2), x and y in pixels."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    grey = [np.asarray(cv2.cvtColor(read_image(frame), cv2.COLOR_BGR2GRAY), np.uint8) for frame in sequence.frames]
    height, width = grey[0].shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    here: Flow = np.dstack((columns, rows))
    return [np.asarray(here + search.calc(after, before, np.zeros_like(here)), np.float32) for before, after in itertools.pairwise(grey)]


def carried(mask: Mask, path: list[Flow]) -> Iterator[Mask | None]:
    """The mask in each of the frames that follow, by the flows between them; None from where it is lost on."""
    height, width = path[0].shape[:2]
    share = mask.paste(height, width).astype(np.float32)
    for origin in path:
        share = np.asarray(cv2.remap(share, origin[..., 0], origin[..., 1], cv2.INTER_LINEAR), np.float32)
        yield Mask.crop(share > 0.5)
