"""Large textured objects that move, turn, come nearer and cross before a textured background; for measuring whole pipelines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.messages import Image
from streamseg.sources.frame_number import corner, write_number
from streamseg.sources.matter import outlined, textured
from streamseg.sources.scene import Placed, SceneOptions, Track, TruthObject, draw, owners, visible

CLASS_NAME: Final = "object"
_SHAPE = (150.0, 100.0)
"""Half the height and half the width of an object in a frame whose shorter side is `_SIDE`, in pixels; the rest goes by it as well."""
_SIDE = 720
_MARGIN = 140.0
"""Its centre keeps this distance from the frame's edges: when it is near, it reaches over them a little."""
_SPEEDS = (3.0, 6.0)
"""Pixels a frame, at 30 frames a second."""
_TURNS = (0.003, 0.008)
"""Radians a frame."""
_NEARER = 1.25
"""How many times as large as its usual size it becomes at most, and at least by the inverse of this."""
_PERIODS = (180.0, 360.0)
"""Frames from nearest to nearest."""
_FIXED_POINT = 4
"""Bits after the point of OpenCV's polygon corners."""


@dataclass(frozen=True, slots=True, eq=False)
class _Sprite:
    """One object.

    Attributes:
        outline: Its corners around its centre, shape (points, 2), at its usual size.
        texture: Square, its centre in the middle; see `Placed`.
        x: Where its centre goes.
        y: The same.
        turn: Radians a frame.
        nearness: Rate and beginning of how near it is, in radians a frame and radians.
    """

    outline: NDArray[np.float64]
    texture: NDArray[np.uint8]
    x: Track
    y: Track
    turn: float
    nearness: tuple[float, float]


class CrossingScene:
    """Rigid objects of irregular outline, about 200x300 pixels at 720p, which cross: a later one lies before an earlier one.

    Each moves back and forth by up to 6 pixels a frame, turns slowly, and becomes up to a quarter larger and smaller. What frame `seq`
    shows depends on the options and `seq` alone; the frame's number is drawn into its top left corner (`streamseg.sources.frame_number`).
    """

    def __init__(self, options: SceneOptions) -> None:
        self.options = options
        chance = np.random.default_rng(options.seed)
        self._unit = min(options.width, options.height) / _SIDE
        self._background = textured(chance, options.height, options.width, contrast=45.0)
        self._sprites = [self._sprite(chance) for _ in range(options.objects)]

    def render(self, seq: int) -> Image:
        """Draw frame `seq`: shape (height, width, 3), uint8, BGR."""
        image = self._background.copy()
        draw(image, [self._place(sprite, seq) for sprite in self._sprites])
        write_number(image, seq)
        return image

    def truth(self, seq: int) -> tuple[TruthObject, ...]:
        """What is visible of each object in frame `seq`; an object that is hidden entirely is left out."""
        height, width = self.options.height, self.options.width
        placed = [self._place(sprite, seq) for sprite in self._sprites]
        owner = owners(placed, height, width)
        rows, columns = corner(height, width)
        owner[:rows, :columns] = 0
        return visible(placed, owner)

    def _sprite(self, chance: np.random.Generator) -> _Sprite:
        options, unit = self.options, self._unit
        outline = unit * outlined(chance, *_SHAPE)
        side = 2 * math.ceil(np.linalg.norm(outline, axis=1).max()) + 4
        heading = chance.uniform(0.2, 0.8) * math.pi / 2
        step = unit * chance.uniform(*_SPEEDS) * 30 / options.fps
        return _Sprite(
            outline=outline,
            texture=np.asarray(cv2.cvtColor(textured(chance, side, side, contrast=60.0), cv2.COLOR_BGR2BGRA), np.uint8),
            x=self._track(chance, options.width, step * math.cos(heading)),
            y=self._track(chance, options.height, step * math.sin(heading)),
            turn=chance.choice((-1, 1)) * chance.uniform(*_TURNS) * 30 / options.fps,
            nearness=(2 * math.pi / chance.uniform(*_PERIODS) * 30 / options.fps, chance.uniform(0, 2 * math.pi)),
        )

    def _track(self, chance: np.random.Generator, length: int, step: float) -> Track:
        low, high = self._unit * _MARGIN, length - self._unit * _MARGIN
        return Track(low, high, chance.uniform(0, 2 * (high - low)), step)

    def _place(self, sprite: _Sprite, seq: int) -> Placed:
        scale = _NEARER ** math.sin(sprite.nearness[0] * seq + sprite.nearness[1])
        cosine, sine = scale * math.cos(sprite.turn * seq), scale * math.sin(sprite.turn * seq)
        turned = sprite.outline @ np.array([[cosine, sine], [-sine, cosine]]) + (sprite.x.at(seq), sprite.y.at(seq))
        (left, top), (right, bottom) = (
            np.floor(turned.min(axis=0)).astype(int),
            np.ceil(turned.max(axis=0)).astype(int) + 1,
        )
        left, top, right, bottom = (
            max(left, 0),
            max(top, 0),
            min(right, self.options.width),
            min(bottom, self.options.height),
        )
        bits = np.zeros((bottom - top, right - left), np.uint8)
        corners = np.round((turned - (left, top)) * 2**_FIXED_POINT).astype(np.int32)
        cv2.fillPoly(bits, [corners], 1, shift=_FIXED_POINT)
        centre = (sprite.texture.shape[0] - 1) / 2
        to_rectangle = np.array(
            [
                [cosine, -sine, sprite.x.at(seq) - left - centre * (cosine - sine)],
                [sine, cosine, sprite.y.at(seq) - top - centre * (sine + cosine)],
            ]
        )
        area = scale**2 * cv2.contourArea(sprite.outline.astype(np.float32))
        return Placed(CLASS_NAME, int(left), int(top), bits, sprite.texture, to_rectangle, area)
