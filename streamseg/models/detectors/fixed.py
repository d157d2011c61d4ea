"""Fixed boxes, the same in every frame."""

from __future__ import annotations

import msgspec

from streamseg.geometry import clip_box
from streamseg.messages import Detection, Image
from streamseg.models.detectors.classes import box_classes, class_numbers
from streamseg.models.options import DetectorSettings


class FixedDetector:
    """Returns the same boxes for every frame, clipped to it; a box outside the frame is dropped.

    Classes are numbered in the order in which their names first appear.

    Raises:
        SettingsError: A class of `classes` is in none of the boxes.
    """

    name = "fixed"

    def __init__(self, settings: DetectorSettings) -> None:
        self.classes = box_classes(settings.boxes)
        wanted = class_numbers(self.classes, settings.classes)
        detections = [
            Detection(xyxy=box.xyxy, confidence=1.0, class_id=self.classes.index(box.name), class_name=box.name)
            for box in settings.boxes
        ]
        self._detections = [detection for detection in detections if detection.class_id in wanted][: settings.max_det]

    def detect(self, image: Image) -> list[Detection]:
        """Return the boxes in the order given, clipped to the frame of shape (height, width, 3)."""
        height, width = image.shape[:2]
        clipped = []
        for detection in self._detections:
            box = clip_box(detection.xyxy, width, height)
            if box is not None:
                clipped.append(msgspec.structs.replace(detection, xyxy=box))
        return clipped
