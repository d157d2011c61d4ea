"""Frames whose objects are known: what masks are carried over to be measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.truth import Sequence
from streamseg.errors import DataError
from streamseg.geometry import Box
from streamseg.images import read_image
from streamseg.masks import Mask
from streamseg.messages import Image


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One frame, and each object in it; the objects keep their places from frame to frame.

    Attributes:
        image: Shape (height, width, 3), uint8, BGR.
        masks: What is visible of each; None where nothing is.
        boxes: What a detector says of it, in pixels; None where it is not visible.
    """

    image: Image
    masks: tuple[Mask | None, ...]
    boxes: tuple[Box | None, ...]


def footage_of(sequence: Sequence) -> Iterator[Shown]:
    """The frames of a sequence, with the boxes of the true masks.

    Raises:
        DataError: The frames differ in size, or a mask is not as large as its frame.
    """
    shape: tuple[int, ...] | None = None
    for place, frame in enumerate(sequence.frames):
        image, mask = read_image(frame), sequence.mask(place)
        if shape is not None and image.shape != shape:
            raise DataError(f"{frame} is {_size(image.shape)}; expected {_size(shape)}, as the frames before it")
        shape = image.shape
        if mask is not None and not mask.inside(*shape[:2]):
            raise DataError(f"{sequence.masks[place]} is larger than {frame}; expected a mask of {_size(shape)}")
        yield Shown(image, (mask,), (None if mask is None else mask.xyxy,))


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
