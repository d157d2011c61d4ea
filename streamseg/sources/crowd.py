"""A scene of many objects, small and large, that is cheap to draw, for pipeline benchmarks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.messages import Image
from streamseg.sources.crossing import CrossingScene, Sprite, outlined, write_number
from streamseg.sources.scene import PlacedObject
from streamseg.sources.scene_options import SceneOptions

_SIDES = (12.0, 200.0)
"""Sides of the objects, in pixels: as many between 12 and 24 as between 100 and 200."""
_SPEEDS = (0.5, 3.0)
"""Their speeds, in pixels per frame at 30 frames per second."""
_POSED = 8
"""Frames for which an object keeps its size and turn, so that it is not drawn in each of them."""
_AS_DRAWN = np.eye(2, 3)
"""The map of a texture that is that of its rectangle."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pose:
    """An object as it looks for some frames: its pixels in a rectangle around its centre.

    Attributes:
        number: Of those frames.
        left: Of the rectangle, from the centre.
        top: Of the rectangle, from the centre.
        bits: Its pixels, 1, else 0.
        picture: Shape (height, width, 3), uint8, BGR.
        area: As in `PlacedObject`.
    """

    number: int
    left: int
    top: int
    bits: NDArray[np.uint8]
    picture: Image
    area: float


class CrowdScene(CrossingScene):
    """Objects of 12x12 to 200x200 pixels; the smaller ones lie in front of the larger ones."""

    def __init__(self, options: SceneOptions) -> None:
        super().__init__(options)
        self.sprites.sort(key=lambda sprite: -sprite.texture.shape[0])
        self._poses: dict[Sprite, _Pose] = {}

    def render(self, seq: int) -> Image:
        """Draw frame `seq`: shape (height, width, 3), uint8, BGR."""
        image = self.background.copy()
        for sprite in self.sprites:
            placed = self.place(sprite, seq)
            cv2.copyTo(placed.texture, placed.bits, placed.crop(image))
        write_number(image, seq)
        return image

    def sprite(self, chance: np.random.Generator) -> Sprite:
        """The next object."""
        least, most = _SIDES
        height, width = least * (most / least) ** chance.uniform(0, 1, 2)
        # Not too flat, and at its largest still a little smaller than the frame.
        longest = min(max(height, width), 0.7 * min(self.options.height, self.options.width))
        half_height, half_width = (max(min(each, longest), longest / 2.5) / 2 for each in (height, width))
        return self.moving(chance, outlined(chance, half_height, half_width), longest / 2, _SPEEDS)

    def place(self, sprite: Sprite, seq: int) -> PlacedObject:
        """The object in frame `seq`; its texture is that of its rectangle."""
        # Not all objects take a new pose in the same frame.
        number = (seq + sprite.texture.shape[0]) // _POSED
        pose = self._poses.get(sprite)
        if pose is None or pose.number != number:
            pose = self._poses[sprite] = _posed(sprite, number)
        left, top = round(sprite.x.at(seq)) + pose.left, round(sprite.y.at(seq)) + pose.top
        height, width = pose.bits.shape
        shown = np.s_[
            max(-top, 0) : max(min(height, self.options.height - top), 0),
            max(-left, 0) : max(min(width, self.options.width - left), 0),
        ]
        picture, bits = pose.picture[shown], pose.bits[shown]
        return PlacedObject(sprite.class_name, max(left, 0), max(top, 0), bits, picture, _AS_DRAWN, pose.area)


def _posed(sprite: Sprite, number: int) -> _Pose:
    """Draw an object around the origin."""
    scale, turn = sprite.scale(number * _POSED), sprite.turn * number * _POSED
    cosine, sine = scale * math.cos(turn), scale * math.sin(turn)
    turned = sprite.outline @ np.array([[cosine, sine], [-sine, cosine]])
    left, top = np.floor(turned.min(axis=0)).astype(int).tolist()
    right, bottom = np.ceil(turned.max(axis=0)).astype(int).tolist()
    size = right - left + 1, bottom - top + 1
    bits = np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(bits, [np.round((turned - (left, top)) * 16).astype(np.int32)], 1, shift=4)
    centre = (sprite.texture.shape[0] - 1) / 2
    matrix = np.array(
        [[cosine, -sine, -left - centre * (cosine - sine)], [sine, cosine, -top - centre * (sine + cosine)]]
    )
    picture = cv2.cvtColor(cv2.warpAffine(sprite.texture, matrix, size, flags=cv2.INTER_LINEAR), cv2.COLOR_BGRA2BGR)
    area = scale**2 * cv2.contourArea(sprite.outline.astype(np.float32))
    return _Pose(number, left, top, bits, np.asarray(picture, np.uint8), area)
