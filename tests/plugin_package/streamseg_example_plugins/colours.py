"""Text in, boxes out: an open-vocabulary detector in miniature, whose vocabulary is colours."""

from __future__ import annotations

import cv2
import numpy as np

from streamseg.errors import SettingsError
from streamseg.messages import Detection, Image
from streamseg.models.options import Compute, DetectorSettings

HUES = {
    "red": 0,
    "yellow": 30,
    "green": 60,
    "cyan": 90,
    "blue": 120,
    "magenta": 150,
}  # OpenCV's circle of colours has 180 steps
SMALLEST = 100  # pixels


class ColourDetector:
    """Finds the regions of the colour that a prompt names, as in "red" or "blue thing"."""

    name = "colours"

    def __init__(self, settings: DetectorSettings, compute: Compute) -> None:
        self.classes = tuple(str(prompt) for prompt in settings.classes or ("red",))
        self._hues = [encode_text(prompt) for prompt in self.classes]  # once, not for every frame
        self._conf = settings.conf

    def detect(self, image: Image) -> list[Detection]:
        """Find regions in a frame of shape (height, width, 3), uint8, BGR.

        The confidence is the share of its box that a region fills.
        """
        hue, saturation, value = np.moveaxis(cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(int), 2, 0)
        detections = []
        for class_id, wanted in enumerate(self._hues):
            distance = abs((hue - wanted + 90) % 180 - 90)
            coloured = (distance < 15) & (saturation > 100) & (value > 60)
            _, _, regions, _ = cv2.connectedComponentsWithStats(coloured.astype(np.uint8))
            for left, top, width, height, area in regions[1:]:  # the first is the background
                box = (left, top, left + width, top + height)
                if area >= SMALLEST and area / (width * height) >= self._conf:
                    found = Detection(
                        xyxy=box,
                        confidence=area / (width * height),
                        class_id=class_id,
                        class_name=self.classes[class_id],
                    )
                    detections.append(found)
        return sorted(detections, key=lambda found: -found.confidence)


def encode_text(prompt: str) -> int:
    """The hue of the first colour that a prompt names."""
    for word in prompt.lower().split():
        if word in HUES:
            return HUES[word]
    raise SettingsError(f"detector.classes: {prompt!r} names no colour; expected a text with one of {', '.join(HUES)}")
