"""Detectors and segmenters: arrays in, boxes and masks out. Uses no run settings, sockets or files but weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from streamseg.messages import Detection, Image, ObjectMask

StepProgress = Callable[[int, int], None]
"""Called with the number of steps done and their total."""


class Detector(Protocol):
    """Finds objects in one frame."""

    name: str

    @property
    def classes(self) -> Sequence[str]:
        """All class names; a detection's `class_id` is an index into them."""
        ...

    def detect(self, image: Image) -> list[Detection]:
        """Find the objects in a frame of shape (height, width, 3), uint8, BGR; most confident first."""
        ...


@runtime_checkable
class StatefulDetector(Protocol):
    """What a detector also has if its objects depend on the frames before: a new process continues from its state."""

    def state(self) -> bytes:
        """What the next frames need of those before; saved after every frame of a file."""
        ...

    def restore(self, state: bytes) -> None:
        """Continue from a state that the same version saved."""
        ...


Embedding = TypeVar("Embedding")
"""What a segmenter keeps of one frame in order to decode any number of boxes."""


class Segmenter(Protocol[Embedding]):
    """Draws the mask of the object in each box."""

    name: str

    def encode(self, image: Image) -> Embedding:
        """Read a frame of shape (height, width, 3), uint8, BGR, once."""
        ...

    def decode(self, embedding: Embedding, detections: Sequence[Detection]) -> list[ObjectMask]:
        """Return one mask for each detection, in the order given."""
        ...

    def describe(self) -> str:
        """Return the model's name, and what runs it if that is a choice: one short line for people."""
        ...
