"""From a picture to its objects, each with its class and its mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from streamseg.masks import Mask
from streamseg.messages import Detection, Image
from streamseg.models import Detector, Segmenter

IMAGES: Final = "images"
"""The folder of a data set that holds the pictures."""
SMALLEST_AREA: Final = 9
"""Pixels below which a mask is taken for a failure of the segmenter."""


@dataclass(frozen=True, slots=True)
class LabelledObject:
    """One object of a data set: what it is, and where."""

    detection: Detection
    mask: Mask


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """A picture's file name in the data set, its size in pixels, and its objects, most confident first; it may have none."""

    name: str
    width: int
    height: int
    objects: tuple[LabelledObject, ...]


class Labeller:
    """A detector and a segmenter as one."""

    def __init__(self, detector: Detector, segmenter: Segmenter[Any]) -> None:
        self._detector = detector
        self._segmenter = segmenter

    @property
    def classes(self) -> Sequence[str]:
        """The names of all classes; the `class_id` of an object's detection is a place in here."""
        return self._detector.classes

    def show(self, image: Image) -> None:
        """Let the detector see a picture that needs no labels, since what it says of later ones may depend on it."""
        self._detector.detect(image)

    def label(self, image: Image) -> tuple[LabelledObject, ...]:
        """Find the objects of a picture of shape (height, width, 3), uint8, BGR; those without a mask are left out."""
        detections = self._detector.detect(image)
        if not detections:
            return ()
        answers = self._segmenter.decode(self._segmenter.encode(image), detections)
        pairs = [(detection, answer.mask) for detection, answer in zip(detections, answers, strict=True)]
        return tuple(
            LabelledObject(detection, mask)
            for detection, mask in pairs
            if mask is not None and mask.area >= SMALLEST_AREA
        )
