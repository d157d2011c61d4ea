"""What every synthetic scene has: options, a truth, and movements that are functions of the frame's number alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, Self, cast, get_args
from urllib.parse import parse_qsl

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.errors import SourceError
from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import Image

SceneName = Literal["bands", "crossing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneOptions:
    """What a scene is like: `synthetic:?size=640x480&fps=30&frames=120&seed=1&objects=2`.

    Attributes:
        scene: `bands` are small objects that keep out of each other's way, `crossing` are large ones that hide each other.
        frames: Length of the scene; 0 makes it endless and live, which means that it keeps to its rate.
    """

    scene: SceneName = "bands"
    width: int = 640
    height: int = 480
    fps: float = 30.0
    frames: int = 0
    seed: int = 1
    objects: int = 2

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a `synthetic:` URL.

        Raises:
            SourceError: It has an unknown key, or a value that is no number or out of range.
        """
        path, _, query = url.partition("?")
        if path.rstrip("/").lower() != "synthetic:":
            raise SourceError(
                f"{url!r} cannot be read; expected synthetic:?size=640x480&fps=30&frames=120&seed=1&objects=2"
            )
        scene = cls()
        for key, text in parse_qsl(query, keep_blank_values=True):
            match key:
                case "scene":
                    scene = replace(scene, scene=_scene_name(text))
                case "size":
                    width, _, height = text.partition("x")
                    scene = replace(scene, width=_whole(key, width, 64, 8192), height=_whole(key, height, 64, 8192))
                case "fps":
                    scene = replace(scene, fps=_number(key, text, 0.1, 1000.0))
                case "frames":
                    scene = replace(scene, frames=_whole(key, text, 0, 10**9))
                case "seed":
                    scene = replace(scene, seed=_whole(key, text, 0, 2**32))
                case "objects":
                    scene = replace(scene, objects=_whole(key, text, 0, 32))
                case _:
                    raise SourceError(
                        f"synthetic: has no key {key!r}; it knows scene, size, fps, frames, seed and objects"
                    )
        return scene


def _scene_name(text: str) -> SceneName:
    for name in get_args(SceneName):
        if name == text:
            return cast(SceneName, name)
    raise SourceError(f"synthetic: scene={text!r} is not valid; expected {' or '.join(get_args(SceneName))}")


def _number(key: str, text: str, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise SourceError(f"synthetic: {key}={text!r} is not valid; expected a number from {least:g} to {most:g}")
    return number


def _whole(key: str, text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        expected = "WIDTHxHEIGHT with sides" if key == "size" else "a whole number"
        raise SourceError(f"synthetic: {key}={text!r} is not valid; expected {expected} from {least} to {most}")
    return int(text)


@dataclass(frozen=True, slots=True, eq=False)
class TruthObject:
    """What is visible of one object in one frame.

    Attributes:
        xyxy: The tight box of the visible pixels.
        mask: The visible pixels.
        class_name: What it is.
        tracker_id: The object's number, from 1 up, the same in every frame.
        share: How much of the object shows, 0 to 1; the rest is hidden or outside the frame.
    """

    xyxy: Box
    mask: Mask
    class_name: str
    tracker_id: int
    share: float


@dataclass(frozen=True, slots=True)
class Track:
    """A movement back and forth between two coordinates, at constant speed."""

    low: float
    high: float
    start: float
    step: float

    def at(self, seq: int) -> float:
        """Where it is in frame `seq`."""
        span = self.high - self.low
        way = (self.start + self.step * seq) % (2 * span)
        return self.low + min(way, 2 * span - way)


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """An object in one frame: its pixels (1, else 0) in a rectangle whose top left corner is (x, y), inside the frame.

    Attributes:
        texture: What it looks like, unmoved: shape (height, width, 4), uint8, BGR and a channel that says nothing. OpenCV samples four
            channels in a third of the time of three.
        to_rectangle: Takes a point (x, y, 1) of the texture into the rectangle, shape (2, 3).
        area: How many pixels it would have with nothing in front of it and a frame that holds all of it.
    """

    class_name: str
    x: int
    y: int
    bits: NDArray[np.uint8]
    texture: NDArray[np.uint8]
    to_rectangle: NDArray[np.float64]
    area: float

    def of(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Its rectangle in an array over the frame."""
        height, width = self.bits.shape
        return frame[self.y : self.y + height, self.x : self.x + width]


class Scene(Protocol):
    """What frame `seq` shows depends on the options and `seq` alone."""

    options: SceneOptions

    def render(self, seq: int) -> Image:
        """Draw frame `seq`: shape (height, width, 3), uint8, BGR."""
        ...

    def truth(self, seq: int) -> tuple[TruthObject, ...]:
        """What is visible of each object in frame `seq`; an object that is hidden entirely is left out."""
        ...


def draw(image: Image, placed: Sequence[Placed]) -> None:
    """Draw objects, each before those that come earlier."""
    for item in placed:
        size = (item.bits.shape[1], item.bits.shape[0])
        shown = cv2.warpAffine(item.texture, item.to_rectangle, size, flags=cv2.INTER_LINEAR)
        cv2.copyTo(cv2.cvtColor(shown, cv2.COLOR_BGRA2BGR), item.bits, item.of(image))


def visible(placed: Sequence[Placed], owner: NDArray[np.uint8]) -> tuple[TruthObject, ...]:
    """What shows of objects that are drawn in that order.

    Args:
        placed: All objects, in the order of their numbers, which begin at 1.
        owner: Shape (height, width): the number of the object that each pixel shows, 0 for what is none.
    """
    found = []
    for number, item in enumerate(placed, start=1):
        mask = Mask.crop(item.of(owner) == number, item.x, item.y)
        if mask is not None:
            found.append(TruthObject(mask.xyxy, mask, item.class_name, number, min(1.0, mask.area / item.area)))
    return tuple(found)


def owners(placed: Sequence[Placed], height: int, width: int) -> NDArray[np.uint8]:
    """For each pixel of a frame the number, from 1 up, of the object that it shows; 0 for the background."""
    owner = np.zeros((height, width), np.uint8)
    for number, item in enumerate(placed, start=1):
        np.copyto(item.of(owner), np.uint8(number), where=item.bits.view(np.bool_))
    return owner
