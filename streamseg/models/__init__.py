"""Detectors and segmenters: arrays in, detections and masks out; no configuration, no sockets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from streamseg.messages import Detection, Image, ObjectMask


class Detector(Protocol):
    """Finds objects in one frame."""

    name: str

    @property
    def classes(self) -> Sequence[str]:
        """The names of all classes that it can report; a detection's `class_id` is a place in here."""
        ...

    def detect(self, image: Image) -> list[Detection]:
        """Find objects in a frame of shape (height, width, 3), uint8, BGR; boxes in its pixels, most confident first."""
        ...


Embedding = TypeVar("Embedding")
"""What a segmenter remembers of one frame so that any number of boxes can be answered from it."""


class Segmenter(Protocol[Embedding]):
    """Draws the mask of the object in each box."""

    name: str

    def encode(self, image: Image) -> Embedding:
        """Read a frame of shape (height, width, 3), uint8, BGR, once."""
        ...

    def decode(self, embedding: Embedding, detections: Sequence[Detection]) -> list[ObjectMask]:
        """One answer for each detection, in the order given."""
        ...
