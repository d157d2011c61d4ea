"""The segmenter `nano`: masks for the boxes of a frame, with weights from the package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streamseg.messages import Detection, Image, ObjectMask
from streamseg.models.options import NANO
from streamseg.models.segmenters.nano.drawing import draw_masks
from streamseg.models.segmenters.nano.network_file import OnnxNetwork


@dataclass(frozen=True, slots=True, eq=False)
class NanoEmbedding:
    """Nano's embedding is the frame itself: shape (height, width, 3), uint8, BGR."""

    image: Image


class Nano:
    """Draws the mask of the object in each box; the same frame and box always give the same mask.

    Args:
        weights: A file of the user's; None takes the packaged one.
        threads: Number of threads; None leaves it to ONNX Runtime.

    Raises:
        CheckpointError: The file is not a network of nano.
    """

    name = NANO

    def __init__(self, weights: Path | None = None, threads: int | None = None) -> None:
        self._network = OnnxNetwork(weights, threads)

    def encode(self, image: Image) -> NanoEmbedding:
        """Keep a frame of shape (height, width, 3), uint8, BGR, uncopied: it must not change before `decode`."""
        return NanoEmbedding(image)

    def decode(self, embedding: NanoEmbedding, detections: Sequence[Detection]) -> list[ObjectMask]:
        """Return one mask for each detection; None if the box lies outside the frame, or holds no object."""
        drawn = draw_masks(self._network, embedding.image, [detection.xyxy for detection in detections])
        return [ObjectMask(one.mask, predicted_iou=None if one.mask is None else one.predicted_iou) for one in drawn]

    def describe(self) -> str:
        """Return the name."""
        return self.name
