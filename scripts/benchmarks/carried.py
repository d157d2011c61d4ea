"""Masks carried by plain optical flow, as priors and as a rival to measure with.

Source: Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016, as in OpenCV.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.truth import Sequence
from streamseg.images import read_image
from streamseg.masks import Mask
from streamseg.messages import Image

Flow = NDArray[np.float32]
Share = NDArray[np.float32]
"""How much of each pixel of a frame belongs to the object: shape (height, width), 0 to 1."""
Grey = NDArray[np.uint8]


class PlainFlow:
    """Finds the flow between frames of one size."""

    def __init__(self, height: int, width: int) -> None:
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        self._here: Flow = np.dstack((columns, rows))
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def origins(self, before: Grey, after: Grey) -> Flow:
        """Where each pixel of a frame was in the frame before: shape (height, width, 2), x and y in pixels."""
        return np.asarray(self._here + self._search.calc(after, before, np.zeros_like(self._here)), np.float32)


def grey(image: Image) -> Grey:
    """What flow sees of a frame: shape (height, width)."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def moved(share: Share, origins: Flow) -> Share:
    """An object's share in the next frame."""
    # The places hold both coordinates; OpenCV's stubs do not know that the other map may then be absent.
    return np.asarray(cv2.remap(share, origins, None, cv2.INTER_LINEAR), np.float32)  # type: ignore[call-overload]


def share_of(mask: Mask, height: int, width: int) -> Share:
    """An object's share in a frame of that size on which its mask is known."""
    return mask.paste(height, width).astype(np.float32)


def mask_of(share: Share) -> Mask | None:
    """The pixels of which more than half is the object's; None where there are none."""
    return Mask.crop(share > 0.5)


def flows(sequence: Sequence) -> list[Flow]:
    """For each frame but the first, where each of its pixels was in the frame before: as `PlainFlow.origins`."""
    pictures = [grey(read_image(frame)) for frame in sequence.frames]
    finder = PlainFlow(*pictures[0].shape)
    return [finder.origins(before, after) for before, after in itertools.pairwise(pictures)]


def carried(mask: Mask, path: list[Flow]) -> Iterator[Mask | None]:
    """The mask in each of the frames that follow, by the flows between them; None from where it is lost on."""
    share = share_of(mask, *path[0].shape[:2])
    for origins in path:
        share = moved(share, origins)
        yield mask_of(share)
