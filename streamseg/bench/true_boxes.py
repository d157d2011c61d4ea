"""A detector that computes all that YOLOX-Nano does, and answers the scene's boxes."""

from __future__ import annotations

from dataclasses import replace

from streamseg.bench.true_scene import FPS, TrueScene
from streamseg.messages import Detection, Image
from streamseg.models.options import DetectorOptions
from streamseg.models.registry import create_detector
from streamseg.sources.crossing import CLASS_NAME

NETWORK = "yolox-nano"
_KNOWN = 100 * FPS
"""Frames whose boxes are known beforehand, so that the truth costs the pipeline nothing."""


class TrueBoxes:
    """Runs the real detector on each frame, and throws away what it finds."""

    name = "true-boxes"
    classes = (CLASS_NAME,)

    def __init__(self, options: DetectorOptions) -> None:
        self._network = create_detector(replace(options, model=NETWORK))
        self._scene = TrueScene(known=_KNOWN)

    def detect(self, image: Image) -> list[Detection]:
        """The boxes of the scene's frame that is shown, shape (height, width, 3), uint8, BGR; none of other pictures."""
        self._network.detect(image)
        return self._scene.detections(image)
