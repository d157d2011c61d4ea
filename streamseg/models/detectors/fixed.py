"""The boxes that the user drew, in every frame."""

from __future__ import annotations

import msgspec

from streamseg.errors import SettingsError
from streamseg.geometry import clip_box
from streamseg.messages import Detection, Image
from streamseg.models.detectors.classes import class_numbers
from streamseg.models.options import DetectorOptions


class FixedDetector:
    """Returns the same boxes for every frame, clipped to it; a box outside the frame is left out.

    Classes are numbered in the order in which their names first appear.

    Raises:
        SettingsError: There are no boxes, or a class of `classes` is in none of them.
    """

    name = "fixed"

    def __init__(self, options: DetectorOptions) -> None:
        if not options.boxes:
            raise SettingsError("detector.boxes: the fixed detector needs at least one box x1,y1,x2,y2")
        self.classes = tuple(dict.fromkeys(name for _, name in options.boxes))
        wanted = class_numbers(self.classes, options.classes)
        detections = [
            Detection(xyxy=box, confidence=1.0, class_id=self.classes.index(class_name), class_name=class_name)
            for box, class_name in options.boxes
        ]
        self._detections = [detection for detection in detections if detection.class_id in wanted][: options.max_det]

    def detect(self, image: Image) -> list[Detection]:
        """The boxes in the order given; the frame of shape (height, width, 3) only clips them."""
        height, width = image.shape[:2]
        clipped = []
        for detection in self._detections:
            box = clip_box(detection.xyxy, width, height)
            if box is not None:
                clipped.append(msgspec.structs.replace(detection, xyxy=box))
        return clipped
