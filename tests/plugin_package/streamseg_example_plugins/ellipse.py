"""A segmenter that takes every object for an ellipse."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from streamseg.masks import Mask
from streamseg.messages import Detection, Image, ObjectMask
from streamseg.models.options import Compute, SegmenterSettings


class EllipseSegmenter:
    """Draws the ellipse that a box encloses."""

    name = "ellipse"

    def __init__(self, settings: SegmenterSettings, compute: Compute) -> None:
        """A model would load `settings.weights` here, onto `compute.device`."""

    def encode(self, image: Image) -> tuple[int, int]:
        """Remember all that `decode` needs of a frame: here its height and width."""
        return image.shape[0], image.shape[1]

    def decode(self, embedding: tuple[int, int], detections: Sequence[Detection]) -> list[ObjectMask]:
        """Return one mask for each detection, in the order given."""
        return [ObjectMask(self._mask(embedding, detection)) for detection in detections]

    def describe(self) -> str:
        """Return a short line for people; a model with a choice of runtimes would name the one in use."""
        return self.name

    def _mask(self, size: tuple[int, int], detection: Detection) -> Mask | None:
        left, top, right, bottom = detection.xyxy
        canvas = np.zeros(size, np.uint8)
        cv2.ellipse(
            canvas, (((left + right - 1) / 2, (top + bottom - 1) / 2), (right - left, bottom - top), 0.0), 1, cv2.FILLED
        )
        return Mask.crop(canvas)
