"""The segmenter `nano`: masks for the boxes of a frame, without a download."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streamseg.messages import NONE, Detection, Image, ObjectMask
from streamseg.models.options import NANO
from streamseg.models.segmenters.nano.drawing import draw_masks
from streamseg.models.segmenters.nano.network_file import OnnxNetwork


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Nano's embedding is the frame itself: shape (height, width, 3), uint8, BGR."""

    image: Image


class Nano:
    """Draws the mask of the object in each box; the same frame and box always give the same mask.

    Args:
        weights: A file of the user's own; None takes the one of the package.
        threads: How many it uses; None leaves that to ONNX Runtime.

    Raises:
        CheckpointError: The file is not a network of nano.
    """

    name = NANO

    def __init__(self, weights: Path | None = None, threads: int | None = None) -> None:
        self._network = OnnxNetwork(weights, threads)

    def encode(self, image: Image) -> Picture:
        """Remember a frame of shape (height, width, 3), uint8, BGR; it is not copied and must not change before `decode`."""
        return Picture(image)

    def decode(self, embedding: Picture, detections: Sequence[Detection]) -> list[ObjectMask]:
        """One answer for each detection; `method` is `NONE` where the box lies outside the frame, or holds no object."""
        drawn = draw_masks(self._network, embedding.image, [detection.xyxy for detection in detections])
        return [
            ObjectMask(None, NONE)
            if answer.mask is None
            else ObjectMask(answer.mask, self.name, predicted_iou=answer.predicted_iou)
            for answer in drawn
        ]
