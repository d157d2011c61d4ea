"""Parts of synthetic scenes: true masks, and movements that depend on the frame number alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import Image
from streamseg.sources.scene_options import SceneOptions

_Pixel = TypeVar("_Pixel", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class TruthObject:
    """The visible part of one object in one frame.

    Attributes:
        xyxy: The tight box of the visible pixels.
        mask: The visible pixels.
        class_name: Name of the object's class.
        tracker_id: The object's number, from 1 up, the same in every frame.
        share: Visible share of the object, 0 to 1; the rest is hidden or outside the frame.
    """

    xyxy: Box
    mask: Mask
    class_name: str
    tracker_id: int
    share: float


@dataclass(frozen=True, slots=True)
class BackAndForth:
    """A movement back and forth between two coordinates, at constant speed."""

    low: float
    high: float
    start: float
    step: float

    def at(self, seq: int) -> float:
        """The coordinate in frame `seq`."""
        span = self.high - self.low
        distance = (self.start + self.step * seq) % (2 * span)
        return self.low + min(distance, 2 * span - distance)


@dataclass(frozen=True, slots=True, eq=False)
class PlacedObject:
    """An object in one frame: its pixels (1, else 0) in a rectangle of the frame with the top left corner (x, y).

    Attributes:
        texture: Its unmoved surface, shape (height, width, 4), uint8, BGR and an unused channel: OpenCV samples four
            channels in a third of the time of three.
        to_rectangle: Affine map from texture to rectangle, shape (2, 3).
        area: Its pixels if nothing hides it, inside and outside the frame.
    """

    class_name: str
    x: int
    y: int
    bits: NDArray[np.uint8]
    texture: NDArray[np.uint8]
    to_rectangle: NDArray[np.float64]
    area: float

    def crop(self, frame: NDArray[_Pixel]) -> NDArray[_Pixel]:
        """The view of its rectangle in an array over the frame."""
        height, width = self.bits.shape
        return frame[self.y : self.y + height, self.x : self.x + width]


class Scene(Protocol):
    """A picture and true masks for each frame, from the options and the frame number alone."""

    options: SceneOptions

    def render(self, seq: int) -> Image:
        """Draw frame `seq`: shape (height, width, 3), uint8, BGR."""
        ...

    def truth(self, seq: int) -> tuple[TruthObject, ...]:
        """The visible part of each object in frame `seq`, without objects that are hidden entirely."""
        ...


def draw(image: Image, placed: Sequence[PlacedObject]) -> None:
    """Draw objects, later ones in front of earlier ones."""
    for item in placed:
        size = (item.bits.shape[1], item.bits.shape[0])
        shown = cv2.warpAffine(item.texture, item.to_rectangle, size, flags=cv2.INTER_LINEAR)
        cv2.copyTo(cv2.cvtColor(shown, cv2.COLOR_BGRA2BGR), item.bits, item.crop(image))


def visible(placed: Sequence[PlacedObject], owner: NDArray[np.uint16]) -> tuple[TruthObject, ...]:
    """The visible parts of objects that are drawn in this order.

    Args:
        placed: All objects, in the order of their numbers from 1 up.
        owner: Number of the object that each pixel shows, shape (height, width); 0 for none.
    """
    found = []
    for number, item in enumerate(placed, start=1):
        mask = Mask.crop(item.crop(owner) == number, item.x, item.y)
        if mask is not None:
            found.append(TruthObject(mask.xyxy, mask, item.class_name, number, min(1.0, mask.area / item.area)))
    return tuple(found)


def owners(placed: Sequence[PlacedObject], height: int, width: int) -> NDArray[np.uint16]:
    """Number of the object that each pixel shows, from 1 up, shape (height, width); 0 for the background."""
    owner = np.zeros((height, width), np.uint16)
    for number, item in enumerate(placed, start=1):
        np.copyto(item.crop(owner), np.uint16(number), where=item.bits.view(np.bool_))
    return owner
