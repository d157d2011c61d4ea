"""Labels a picture: its objects with class and mask, and the base of the formats to write them in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from streamseg.masks import Mask
from streamseg.messages import Detection, Image
from streamseg.models import Detector, Segmenter

IMAGES: Final = "images"
"""Folder of a data set with the pictures."""
SMALLEST_AREA: Final = 9
"""Pixels; a smaller mask counts as a failure of the segmenter."""
SMALLEST_PART: Final = 16
"""Pixels of a part of a mask; polygons leave out smaller ones, except for the largest of an object."""


@dataclass(frozen=True, slots=True)
class LabelledObject:
    """One object of a data set: its class and its mask."""

    detection: Detection
    mask: Mask


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """A picture's file name in the data set, its size in pixels, and its objects, most confident first."""

    name: str
    width: int
    height: int
    objects: tuple[LabelledObject, ...]


class Format(Protocol):
    """A label format. A picture with a label file is labelled.

    Attributes:
        folder: Folder of the label files in the data set.
        suffix: Ending of a label file, in place of the picture's.
    """

    folder: str
    suffix: str

    def encode(self, picture: LabelledPicture) -> bytes:
        """The label file of a picture, with or without objects."""
        ...

    def indexed(self, directory: Path) -> frozenset[str]:
        """Names of pictures whose labels are in the index instead of a label file."""
        return frozenset()

    def finish(self, directory: Path, classes: Sequence[str]) -> None:
        """Write or update the index of all pictures, if the format has one; called when all of them are labelled."""

    def remove_index(self, directory: Path) -> None:
        """Remove what `finish` wrote."""


class Labeller:
    """Labels pictures with a detector and a segmenter."""

    def __init__(self, detector: Detector, segmenter: Segmenter[Any]) -> None:
        self._detector = detector
        self._segmenter = segmenter

    @property
    def classes(self) -> Sequence[str]:
        """Names of all classes, indexed by the `class_id` of a detection."""
        return self._detector.classes

    def observe(self, image: Image) -> None:
        """Pass a picture without labels to the detector, whose state may depend on it."""
        self._detector.detect(image)

    def label(self, image: Image) -> tuple[LabelledObject, ...]:
        """Objects of a picture of shape (height, width, 3), uint8, BGR, without those that have no mask."""
        detections = self._detector.detect(image)
        if not detections:
            return ()
        masks = self._segmenter.decode(self._segmenter.encode(image), detections)
        pairs = [(detection, found.mask) for detection, found in zip(detections, masks, strict=True)]
        return tuple(
            LabelledObject(detection, mask)
            for detection, mask in pairs
            if mask is not None and mask.area >= SMALLEST_AREA
        )
