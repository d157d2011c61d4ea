"""A scene of large textured objects that move, turn, grow, shrink and hide each other, for pipeline benchmarks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.messages import Image
from streamseg.sources.scene import BackAndForth, PlacedObject, TruthObject, draw, owners, visible
from streamseg.sources.scene_options import SceneOptions

_COLOURED = 0.3
"""Contrast of patches in colour, as a share of their contrast in brightness."""
_CORNERS = 72


def outlined(chance: np.random.Generator, half_height: float, half_width: float) -> NDArray[np.float64]:
    """An ellipse with a few bulges and dents around the origin: its corners (x, y), shape (points, 2)."""
    angles = np.linspace(0, 2 * math.pi, _CORNERS, endpoint=False)
    bulges = sum(
        chance.uniform(0.3, 1.0) * 0.22 / wave * np.sin(wave * angles + chance.uniform(0, 2 * math.pi))
        for wave in range(2, 7)
    )
    radius = 1 + bulges
    return np.stack((half_width * radius * np.cos(angles), half_height * radius * np.sin(angles)), axis=1)


def textured(chance: np.random.Generator, height: int, width: int, *, contrast: float) -> Image:
    """A colour under light and dark patches of every size, the finer the fainter, like natural pictures.

    Args:
        chance: Random generator.
        height: In pixels.
        width: In pixels.
        contrast: Approximate difference between the largest patches, in grey levels.
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
    """Height and width of the number in a frame of that size, in pixels."""
    cell = _cell(height, width)
    return 2 * cell, BITS * cell


def write_number(image: Image, number: int) -> None:
    """Draw a number into the top left corner of a frame of shape (height, width, 3).

    Each bit, lowest first, is a column of two cells: white above black for 1, black above white for 0.
    """
    upper = np.array([number >> bit & 1 for bit in range(BITS)], np.uint8)
    height, width = corner(image.shape[0], image.shape[1])
    cells = cv2.resize(np.stack((upper, 1 - upper)), (width, height), interpolation=cv2.INTER_NEAREST)
    image[:height, :width] = 255 * np.asarray(cells)[..., None]


def read_number(image: Image) -> int | None:
    """The number in a frame, even if it was compressed or resized; None if there is none."""
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
"""Half the height and half the width of an object, in pixels of a frame whose shorter side is `_SIDE`."""
_SIDE = 720
_MARGIN = 140.0
"""Least distance of its centre from the frame's edges; at its largest it crosses them a little."""
_SPEEDS = (3.0, 6.0)
"""Pixels per frame, at 30 frames per second."""
_TURNS = (0.003, 0.008)
"""Radians per frame."""
_LARGEST = 1.25
"""Largest size of an object, as a factor; the smallest is its inverse."""
_PERIODS = (180.0, 360.0)
"""Frames between two maxima of the size."""
_FIXED_POINT = 4
"""Fractional bits of OpenCV's polygon corners."""


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """One object of a scene.

    Attributes:
        outline: Corners around its centre at normal size, shape (points, 2).
        texture: Square, its centre in the middle; see `PlacedObject`.
        x: Movement of its centre.
        y: Movement of its centre.
        turn: Radians per frame.
        scale_phase: Of its size: radians per frame, and radians in frame 0.
    """

    outline: NDArray[np.float64]
    texture: NDArray[np.uint8]
    x: BackAndForth
    y: BackAndForth
    turn: float
    scale_phase: tuple[float, float]
    class_name: str = CLASS_NAME

    def scale(self, seq: int) -> float:
        """Its size in frame `seq`, as a factor."""
        return float(_LARGEST ** math.sin(self.scale_phase[0] * seq + self.scale_phase[1]))


class CrossingScene:
    """Rigid objects of irregular outline, about 200x300 pixels at 720p; later ones lie in front of earlier ones.

    Each moves back and forth by up to 6 pixels per frame, turns slowly, and grows and shrinks by a quarter. A frame
    depends on the options and its number alone; the number is drawn into its top left corner (`write_number`).
    """

    def __init__(self, options: SceneOptions) -> None:
        self.options = options
        chance = np.random.default_rng(options.seed)
        self._unit = min(options.width, options.height) / _SIDE
        self.background = textured(chance, options.height, options.width, contrast=45.0)
        self.sprites = [self.sprite(chance) for _ in range(options.objects)]

    def render(self, seq: int) -> Image:
        """Draw frame `seq`: shape (height, width, 3), uint8, BGR."""
        image = self.background.copy()
        draw(image, [self.place(sprite, seq) for sprite in self.sprites])
        write_number(image, seq)
        return image

    def truth(self, seq: int) -> tuple[TruthObject, ...]:
        """The visible part of each object in frame `seq`, without objects that are hidden entirely."""
        height, width = self.options.height, self.options.width
        placed = [self.place(sprite, seq) for sprite in self.sprites]
        owner = owners(placed, height, width)
        rows, columns = corner(height, width)
        owner[:rows, :columns] = 0
        return visible(placed, owner)

    def sprite(self, chance: np.random.Generator) -> Sprite:
        """The next object."""
        outline, margin = self._unit * outlined(chance, *_SHAPE), self._unit * _MARGIN
        return self.moving(chance, outline, margin, (self._unit * _SPEEDS[0], self._unit * _SPEEDS[1]))

    def moving(
        self, chance: np.random.Generator, outline: NDArray[np.float64], margin: float, speeds: tuple[float, float]
    ) -> Sprite:
        """An object of that outline, which stays `margin` pixels inside the frame and moves between two speeds."""
        options = self.options
        side = 2 * math.ceil(np.linalg.norm(outline, axis=1).max()) + 4
        heading = chance.uniform(0.2, 0.8) * math.pi / 2
        step = chance.uniform(*speeds) * 30 / options.fps
        return Sprite(
            outline=outline,
            texture=np.asarray(cv2.cvtColor(textured(chance, side, side, contrast=60.0), cv2.COLOR_BGR2BGRA), np.uint8),
            x=self._track(chance, margin, options.width, step * math.cos(heading)),
            y=self._track(chance, margin, options.height, step * math.sin(heading)),
            turn=chance.choice((-1, 1)) * chance.uniform(*_TURNS) * 30 / options.fps,
            scale_phase=(2 * math.pi / chance.uniform(*_PERIODS) * 30 / options.fps, chance.uniform(0, 2 * math.pi)),
        )

    def _track(self, chance: np.random.Generator, margin: float, length: int, step: float) -> BackAndForth:
        low, high = margin, length - margin
        return BackAndForth(low, high, chance.uniform(0, 2 * (high - low)), step)

    def place(self, sprite: Sprite, seq: int) -> PlacedObject:
        """The object in frame `seq`."""
        scale = sprite.scale(seq)
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
        return PlacedObject(sprite.class_name, int(left), int(top), bits, sprite.texture, to_rectangle, area)
