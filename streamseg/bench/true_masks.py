"""A segmenter that computes all that MobileSAM does, and answers the scene's masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from streamseg.bench.true_scene import TrueScene, assign
from streamseg.messages import Detection, Image, ObjectMask
from streamseg.models.options import MOBILE_SAM, SegmenterOptions
from streamseg.models.registry import create_segmenter
from streamseg.sources.scene import TruthObject


@dataclass(frozen=True, slots=True, eq=False)
class _Remembered:
    """The network's embedding of a frame, and what can be seen in it."""

    embedding: Any
    objects: list[TruthObject]


class TrueMasks:
    """Runs the real segmenter on each keyframe and box, and throws away what it draws."""

    name = "true-masks"

    def __init__(self, options: SegmenterOptions) -> None:
        self._network = create_segmenter(replace(options, model=MOBILE_SAM))
        self._scene = TrueScene()

    def encode(self, image: Image) -> _Remembered:
        """Read a frame of shape (height, width, 3), uint8, BGR."""
        return _Remembered(self._network.encode(image), self._scene.shown(image))

    def decode(self, remembered: _Remembered, detections: Sequence[Detection]) -> list[ObjectMask]:
        """The mask of the object that each box is of, where it is of one."""
        self._network.decode(remembered.embedding, detections)
        found = assign([detection.xyxy for detection in detections], remembered.objects)
        return [ObjectMask(None) if item is None else ObjectMask(item.mask, predicted_iou=1.0) for item in found]

    def describe(self) -> str:
        """Return the real segmenter's description."""
        return self._network.describe()
