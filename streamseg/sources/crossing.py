"""Large textured objects that move, turn, come nearer and cross before a textured background; for measuring whole pipelines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.messages import Image
from streamseg.sources.scene import Placed, SceneOptions, Track, TruthObject, draw, owners, visible

_COLOURED = 0.3
"""How much patches differ in colour, beside how much they differ in brightness."""
_CORNERS = 72


def outlined(chance: np.random.Generator, half_height: float, half_width: float) -> NDArray[np.float64]:
    """An ellipse with a few bulges and dents: its corners around the origin, x and y, shape (points, 2)."""
    angles = np.linspace(0, 2 * math.pi, _CORNERS, endpoint=False)
    bulges = sum(
        chance.uniform(0.3, 1.0) * 0.22 / wave * np.sin(wave * angles + chance.uniform(0, 2 * math.pi))
        for wave in range(2, 7)
    )
    radius = 1 + bulges
    return np.stack((half_width * radius * np.cos(angles), half_height * radius * np.sin(angles)), axis=1)


def textured(chance: np.random.Generator, height: int, width: int, *, contrast: float) -> Image:
    """A colour under patches of light and shade of every size, the finer the fainter, as pictures of nature have them.

    Args:
        chance: Where chance comes from.
        height: In pixels.
        width: The same.
        contrast: About how much the largest patches differ, in grey levels.
    """
    light = np.full((height, width, 3), chance.uniform(60, 195, 3), np.float32)
    cells = 2
    while cells <= max(height, width):
        rows, columns = (max(2, cells * side // max(height, width)) for side in (height, width))
        patches = (
            chance.standard_normal((rows, columns, 1)) + _COLOURED * chance.standard_normal((rows, columns, 3))
        ).astype(np.float32)
        light += (
            contrast * cells**-0.4 * np.asarray(cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC))
        )
        cells *= 2
    texture: Image = np.clip(light, 0, 255).astype(np.uint8)
    return texture


BITS: Final = 24
"""Numbers are taken modulo 2 to the power of this."""
_CELL_SHARE = 1 / 90
"""Side of a cell as a share of the frame's shorter side: 8 pixels at 720p."""
_LEAST_CONTRAST = 128.0


def corner(height: int, width: int) -> tuple[int, int]:
    """Height and width of what the number takes of a frame of that size, in pixels."""
    cell = _cell(height, width)
    return 2 * cell, BITS * cell


def write_number(image: Image, number: int) -> None:
    """Draw a number into a frame of shape (height, width, 3): for each bit, the lowest first, a white cell over a black one, or below."""
    upper = np.array([number >> bit & 1 for bit in range(BITS)], np.uint8)
    height, width = corner(image.shape[0], image.shape[1])
    cells = cv2.resize(np.stack((upper, 1 - upper)), (width, height), interpolation=cv2.INTER_NEAREST)
    image[:height, :width] = 255 * np.asarray(cells)[..., None]


def read_number(image: Image) -> int | None:
    """The number in a frame, also in one that was compressed or resized; None where there is none."""
    height, width = corner(image.shape[0], image.shape[1])
    means: NDArray[np.float64] = (
        image[:height, :width].reshape(2, height // 2, BITS, width // BITS, 3).mean(axis=(1, 3, 4))
    )
    differences = means[0] - means[1]
    if np.abs(differences).min() < _LEAST_CONTRAST:
        return None
    return sum(1 << bit for bit in range(BITS) if differences[bit] > 0)


def _cell(height: int, width: int) -> int:
    return max(2, round(_CELL_SHARE * min(height, width)))


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
    shows depends on the options and `seq` alone; the frame's number is drawn into its top left corner (`write_number`).
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
