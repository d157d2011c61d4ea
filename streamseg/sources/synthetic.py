"""A moving scene with known masks, for demonstrations and as the ground truth of tests."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import parse_qsl

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.errors import SourceError
from streamseg.masks import Mask
from streamseg.messages import Box, Frame, Image
from streamseg.sources import SourceInfo, SourceOptions
from streamseg.sources.orientation import Orientation

CLASS_NAMES = ("disc", "box", "star")
COLOURS = ((40, 60, 225), (215, 110, 40), (60, 200, 235), (190, 60, 200), (60, 190, 70), (235, 200, 60))
"""BGR colours of the objects, in turn, all brighter than the background's."""
BACKGROUND = (88, 100, 106)
RADIUS = 0.15
"""Radius of an object as a share of the frame's shorter side."""
SPEED = 0.2
"""Frame widths that an object crosses in a second."""
TURN = 0.5
"""Radians that an object turns in a second."""

Outline = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneOptions:
    """What a scene is like: `synthetic:?size=640x480&fps=30&frames=120&seed=1&objects=2`.

    Attributes:
        frames: Length of the scene; 0 makes it endless and live, which means that it keeps to its rate.
    """

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
            raise SourceError(f"{url!r} cannot be read; expected synthetic:?size=640x480&fps=30&frames=120&seed=1&objects=2")
        scene = cls()
        for key, text in parse_qsl(query, keep_blank_values=True):
            match key:
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
                    raise SourceError(f"synthetic: has no key {key!r}; it knows size, fps, frames, seed and objects")
        return scene


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
        class_name: One of CLASS_NAMES.
        tracker_id: The object's number, from 1 up, the same in every frame.
    """

    xyxy: Box
    mask: Mask
    class_name: str
    tracker_id: int


@dataclass(frozen=True, slots=True)
class _Track:
    """A movement back and forth between two coordinates, at constant speed."""

    low: float
    high: float
    start: float
    step: float

    def at(self, seq: int) -> float:
        span = self.high - self.low
        way = (self.start + self.step * seq) % (2 * span)
        return self.low + min(way, 2 * span - way)


@dataclass(frozen=True, slots=True, eq=False)
class _Mover:
    """One object: its outline around the origin, the texture under it, and where it goes."""

    class_name: str
    outline: Outline
    texture: Image
    x: _Track
    y: _Track
    turn: float


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """An object in one frame: its pixels (1, else 0) in a square whose top left corner is (x, y)."""

    x: int
    y: int
    bits: NDArray[np.uint8]
    texture: Image


class SyntheticScene:
    """Textured objects that move and turn before a textured, unmoving background.

    What frame `seq` shows depends on the options and `seq` alone. Objects stay inside the frame and each in a band of its own, so that one
    seldom hides another; a later object lies before an earlier one.
    """

    def __init__(self, options: SceneOptions) -> None:
        self.options = options
        chance = np.random.default_rng(options.seed)
        self._radius = RADIUS * min(options.width, options.height) / max(1.0, math.sqrt(options.objects / 3))
        self._background = _texture(chance, options.height, options.width, BACKGROUND, coarse=options.height / 12, contrast=20.0)
        self._movers = [self._mover(chance, number) for number in range(options.objects)]

    def render(self, seq: int) -> Image:
        """Draw frame `seq`: shape (height, width, 3), uint8, BGR."""
        image = self._background.copy()
        for placed in self._placed(seq):
            side = placed.bits.shape[0]
            cv2.copyTo(placed.texture, placed.bits, image[placed.y : placed.y + side, placed.x : placed.x + side])
        return image

    def truth(self, seq: int) -> tuple[TruthObject, ...]:
        """What is visible of each object in frame `seq`; an object that is hidden entirely is left out."""
        owner = np.zeros((self.options.height, self.options.width), dtype=np.uint8)
        placed = self._placed(seq)
        for number, item in enumerate(placed, start=1):
            side = item.bits.shape[0]
            owner[item.y : item.y + side, item.x : item.x + side][item.bits != 0] = number
        visible: list[TruthObject] = []
        for number, (item, mover) in enumerate(zip(placed, self._movers, strict=True), start=1):
            side = item.bits.shape[0]
            mask = Mask.crop(owner[item.y : item.y + side, item.x : item.x + side] == number, item.x, item.y)
            if mask is not None:
                visible.append(TruthObject(mask.xyxy, mask, mover.class_name, number))
        return tuple(visible)

    def _mover(self, chance: np.random.Generator, number: int) -> _Mover:
        options, radius = self.options, self._radius
        side = 2 * math.ceil(radius) + 4
        margin = side / 2
        band = options.height / options.objects
        middle = min(max((number + 0.5) * band, margin + 1), options.height - margin - 1)
        reach = max(band / 2 - margin, 0.0)
        low, high = max(middle - reach, margin), min(middle + reach, options.height - margin)
        step = SPEED * options.width / options.fps
        right = options.width - margin
        return _Mover(
            class_name=CLASS_NAMES[number % len(CLASS_NAMES)],
            outline=radius * _outline(CLASS_NAMES[number % len(CLASS_NAMES)]),
            texture=_texture(chance, side, side, COLOURS[number % len(COLOURS)], coarse=radius / 3, contrast=28.0),
            x=_Track(margin, right, chance.uniform(0, 2 * (right - margin)), step * chance.uniform(0.8, 1.2)),
            y=_Track(low, max(high, low + 1), chance.uniform(0, 2 * max(high - low, 1)), 0.3 * step * chance.uniform(0.5, 1.5)),
            turn=TURN / options.fps * (1 if number % 2 else -1),
        )

    def _placed(self, seq: int) -> list[_Placed]:
        return [_place(mover, seq) for mover in self._movers]


def _place(mover: _Mover, seq: int) -> _Placed:
    side = mover.texture.shape[0]
    x, y = mover.x.at(seq), mover.y.at(seq)
    left, top = math.floor(x - side / 2), math.floor(y - side / 2)
    cosine, sine = math.cos(mover.turn * seq), math.sin(mover.turn * seq)
    turned = mover.outline @ np.array([[cosine, sine], [-sine, cosine]]) + (x - left, y - top)
    bits = np.zeros((side, side), dtype=np.uint8)
    cv2.fillPoly(bits, [np.round(turned * 16).astype(np.int32)], 1, shift=4)
    centre = (side - 1) / 2
    to_frame = np.array(
        [
            [cosine, -sine, x - left - centre * (cosine - sine)],
            [sine, cosine, y - top - centre * (sine + cosine)],
        ]
    )
    texture = cv2.warpAffine(mover.texture, to_frame, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return _Placed(left, top, bits, np.asarray(texture, dtype=np.uint8))


def _outline(class_name: str) -> Outline:
    """The shape's corners within the unit circle, of shape (points, 2)."""
    match class_name:
        case "disc":
            angles = np.linspace(0, 2 * math.pi, 48, endpoint=False)
            return np.stack((np.cos(angles), 0.75 * np.sin(angles)), axis=1)
        case "box":
            return np.array([[-0.8, -0.55], [0.8, -0.55], [0.8, 0.55], [-0.8, 0.55]])
    angles = np.linspace(-math.pi / 2, 1.5 * math.pi, 10, endpoint=False)
    distances = np.where(np.arange(10) % 2 == 0, 1.0, 0.55)
    return np.stack((distances * np.cos(angles), distances * np.sin(angles)), axis=1)


def _texture(
    chance: np.random.Generator, height: int, width: int, colour: tuple[int, int, int], *, coarse: float, contrast: float
) -> Image:
    """A colour under patches of light and shade, about `coarse` pixels wide, and a fine grain."""
    rows, columns = max(2, round(height / coarse)), max(2, round(width / coarse))
    shade = cv2.resize(chance.standard_normal((rows, columns)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    grain = chance.standard_normal((height, width)).astype(np.float32)
    light = contrast * np.asarray(shade) + 0.3 * contrast * grain
    texture: Image = np.clip(light[:, :, None] + np.array(colour, dtype=np.float32), 0, 255).astype(np.uint8)
    return texture


class SyntheticSource:
    """The frames of a `SyntheticScene`: as fast as they are taken where it has an end, else at its rate.

    Attributes:
        scene: Knows the truth of each frame; frame `seq` has `pts_ns` = seq / fps.
    """

    def __init__(self, options: SourceOptions) -> None:
        self.scene = SyntheticScene(SceneOptions.parse(options.url))
        self._orientation = Orientation(options.rotate, options.mirror)
        scene = self.scene.options
        self.info = SourceInfo(
            description=f"synthetic scene ({scene.width}x{scene.height}, {scene.objects} objects, seed {scene.seed})",
            fps=scene.fps,
            frame_count=scene.frames or None,
        )

    def frames(self, start: int, stop: threading.Event) -> Iterator[Frame]:
        """Yield the frames from number `start` on; an endless scene begins at 0 and, as a camera does, drops what is not taken in time."""
        for seq in range(start, self.scene.options.frames) if self.scene.options.frames else self._in_time(stop):
            if stop.is_set():
                return
            image = self._orientation.apply(self.scene.render(seq))
            yield Frame(image, round(seq * 1e9 / self.scene.options.fps), time.monotonic_ns(), time.time_ns())

    def close(self) -> None:
        """Nothing is held."""

    def _in_time(self, stop: threading.Event) -> Iterator[int]:
        began, fps = time.monotonic(), self.scene.options.fps
        seq = 0
        while not stop.wait(max(0.0, began + seq / fps - time.monotonic())):
            yield seq
            seq = max(seq + 1, int((time.monotonic() - began) * fps))
