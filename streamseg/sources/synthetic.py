"""Synthetic scenes with known masks as a source, for demonstrations and tests."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.messages import Frame, Image
from streamseg.orientation import Orientation
from streamseg.sources import SourceInfo, SourceSettings
from streamseg.sources.crossing import CrossingScene
from streamseg.sources.crowd import CrowdScene
from streamseg.sources.scene import BackAndForth, PlacedObject, Scene, TruthObject, draw, owners, visible
from streamseg.sources.scene_options import SceneOptions

CLASS_NAMES = ("disc", "box", "star")
COLOURS = ((40, 60, 225), (215, 110, 40), (60, 200, 235), (190, 60, 200), (60, 190, 70), (235, 200, 60))
"""BGR colours of the objects in turn, all brighter than the background."""
BACKGROUND = (88, 100, 106)
RADIUS = 0.15
"""Radius of an object as a share of the frame's shorter side."""
SPEED = 0.2
"""Frame widths per second."""
TURN = 0.5
"""Radians per second."""

Outline = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Mover:
    """One object: its outline around the origin, its texture (see `PlacedObject`), and its movement."""

    class_name: str
    outline: Outline
    texture: NDArray[np.uint8]
    x: BackAndForth
    y: BackAndForth
    turn: float


class SyntheticScene:
    """Textured objects that move and turn in front of a textured, still background.

    A frame depends on the options and its number alone. Each object stays inside its own band of the frame, so they
    seldom meet; later ones lie in front of earlier ones.
    """

    def __init__(self, options: SceneOptions) -> None:
        self.options = options
        chance = np.random.default_rng(options.seed)
        self._radius = RADIUS * min(options.width, options.height) / max(1.0, math.sqrt(options.objects / 3))
        self._background = _texture(
            chance, options.height, options.width, BACKGROUND, coarse=options.height / 12, contrast=20.0
        )
        self._movers = [self._mover(chance, number) for number in range(options.objects)]

    def render(self, seq: int) -> Image:
        """Draw frame `seq`: shape (height, width, 3), uint8, BGR."""
        image = self._background.copy()
        draw(image, self._placed(seq))
        return image

    def truth(self, seq: int) -> tuple[TruthObject, ...]:
        """The visible part of each object in frame `seq`, without objects that are hidden entirely."""
        placed = self._placed(seq)
        return visible(placed, owners(placed, self.options.height, self.options.width))

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
        surface = _texture(chance, side, side, COLOURS[number % len(COLOURS)], coarse=radius / 3, contrast=28.0)
        return _Mover(
            class_name=CLASS_NAMES[number % len(CLASS_NAMES)],
            outline=radius * _outline(CLASS_NAMES[number % len(CLASS_NAMES)]),
            texture=np.asarray(cv2.cvtColor(surface, cv2.COLOR_BGR2BGRA), np.uint8),
            x=BackAndForth(margin, right, chance.uniform(0, 2 * (right - margin)), step * chance.uniform(0.8, 1.2)),
            y=BackAndForth(
                low,
                max(high, low + 1),
                chance.uniform(0, 2 * max(high - low, 1)),
                0.3 * step * chance.uniform(0.5, 1.5),
            ),
            turn=TURN / options.fps * (1 if number % 2 else -1),
        )

    def _placed(self, seq: int) -> list[PlacedObject]:
        return [_place(mover, seq) for mover in self._movers]


def _place(mover: _Mover, seq: int) -> PlacedObject:
    side = mover.texture.shape[0]
    x, y = mover.x.at(seq), mover.y.at(seq)
    left, top = math.floor(x - side / 2), math.floor(y - side / 2)
    cosine, sine = math.cos(mover.turn * seq), math.sin(mover.turn * seq)
    turned = mover.outline @ np.array([[cosine, sine], [-sine, cosine]]) + (x - left, y - top)
    bits = np.zeros((side, side), dtype=np.uint8)
    cv2.fillPoly(bits, [np.round(turned * 16).astype(np.int32)], 1, shift=4)
    centre = (side - 1) / 2
    to_rectangle = np.array(
        [
            [cosine, -sine, x - left - centre * (cosine - sine)],
            [sine, cosine, y - top - centre * (sine + cosine)],
        ]
    )
    area = cv2.contourArea(mover.outline.astype(np.float32))
    return PlacedObject(mover.class_name, left, top, bits, mover.texture, to_rectangle, area)


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
    chance: np.random.Generator,
    height: int,
    width: int,
    colour: tuple[int, int, int],
    *,
    coarse: float,
    contrast: float,
) -> Image:
    """A colour under light and dark patches, about `coarse` pixels wide, and a fine grain."""
    rows, columns = max(2, round(height / coarse)), max(2, round(width / coarse))
    shade = cv2.resize(
        chance.standard_normal((rows, columns)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    grain = chance.standard_normal((height, width)).astype(np.float32)
    light = contrast * np.asarray(shade) + 0.3 * contrast * grain
    texture: Image = np.clip(light[:, :, None] + np.array(colour, dtype=np.float32), 0, 255).astype(np.uint8)
    return texture


def open_scene(options: SceneOptions) -> Scene:
    """Make the scene that the options name."""
    match options.scene:
        case "bands":
            return SyntheticScene(options)
        case "crossing":
            return CrossingScene(options)
        case "crowd":
            return CrowdScene(options)


class SyntheticSource:
    """The frames of a scene: without delay if it has an end, otherwise at its rate.

    Attributes:
        scene: Has the truth of each frame; frame `seq` has `pts_ns` = seq / fps.
    """

    def __init__(self, settings: SourceSettings) -> None:
        self.scene = open_scene(SceneOptions.parse(settings.address))
        self._orientation = Orientation.from_rotation(settings.rotate, mirror=settings.mirror)
        scene = self.scene.options
        self.info = SourceInfo(
            description=f"synthetic scene ({scene.width}x{scene.height}, {scene.objects} objects, seed {scene.seed})",
            fps=scene.fps,
            frame_count=scene.frames or None,
        )

    def frames(self, start: int, stop: threading.Event) -> Iterator[Frame]:
        """Yield the frames from number `start` on.

        An endless scene starts at 0 and, like a camera, skips late frames.
        """
        for seq in range(start, self.scene.options.frames) if self.scene.options.frames else self._paced(stop):
            if stop.is_set():
                return
            image = self._orientation.apply(self.scene.render(seq))
            yield Frame(image, round(seq * 1e9 / self.scene.options.fps), time.monotonic_ns(), time.time_ns())

    def close(self) -> None:
        """Nothing to release."""

    def _paced(self, stop: threading.Event) -> Iterator[int]:
        start, fps = time.monotonic(), self.scene.options.fps
        seq = 0
        while not stop.wait(max(0.0, start + seq / fps - time.monotonic())):
            yield seq
            seq = max(seq + 1, int((time.monotonic() - start) * fps))
