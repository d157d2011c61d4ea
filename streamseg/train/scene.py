"""One object of a photograph on a square canvas, on its own background or another, alone or behind another object."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.masks import Mask
from streamseg.messages import Image
from streamseg.window import Point

GREY = 127
"""Value of pixels outside the photograph."""
_SHARPEST = 0.7
"""Scale below which a photograph is averaged before it is sampled, as in windows of large objects."""
_DISTANCE = (0.25, 0.95)
"""Range of the distance between the middles of an object and one in front, in longer sides of the former."""
_ALMOST = 2
"""Pixels of a photograph beyond the canvas that sampling may read."""

Share = NDArray[np.uint8]
"""Shape (canvas, canvas): how much of each pixel an object covers, 255 for all of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """An object on a canvas.

    Attributes:
        image: Shape (canvas, canvas, 3), uint8, BGR; grey outside the photograph.
        mask: The visible part of the object.
        beyond: Area of the object that lies outside the canvas, in its pixels.
        size: Longer side of the object's rectangle, in pixels of the canvas.
    """

    image: Image
    mask: Share
    beyond: float
    size: float

    @property
    def canvas(self) -> int:
        """Side of the canvas in pixels."""
        return int(self.mask.shape[0])


def place(photograph: Image, mask: Mask, centre: Point, size: float, canvas: int, rng: np.random.Generator) -> Scene:
    """Put an object on a canvas, mirrored, turned and stretched at random.

    Args:
        photograph: Shape (height, width, 3), uint8, BGR.
        mask: Of the object.
        centre: The point of the photograph that lies in the middle of the canvas.
        size: Longer side of the object's rectangle, in pixels of the canvas.
        canvas: Its side, in pixels.
        rng: Random generator.
    """
    scale = size / max(mask.width, mask.height)
    angle = rng.normal(0, 0.2) if rng.random() < 0.3 else 0.0
    stretch = math.exp(rng.normal(0, 0.06))
    turn = np.array(((math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle)))) * scale
    turn = turn @ np.diag((stretch, 1 / stretch))
    if rng.random() < 0.5:
        turn = turn @ np.diag((-1.0, 1.0))
    left, top, right, bottom = _seen(turn, centre, canvas, photograph.shape[1], photograph.shape[0])
    image = photograph[top:bottom, left:right]
    bits = np.zeros(image.shape[:2], np.uint8)
    _put(bits, mask, left, top)
    if scale < _SHARPEST:
        smaller = tuple(max(round(side * scale / _SHARPEST), 1) for side in (right - left, bottom - top))
        turn = turn @ np.diag(((right - left) / smaller[0], (bottom - top) / smaller[1]))
        centre = (
            (centre[0] - left) * smaller[0] / (right - left),
            (centre[1] - top) * smaller[1] / (bottom - top),
        )
        image = np.asarray(cv2.resize(image, smaller, interpolation=cv2.INTER_AREA), np.uint8)
        bits = np.asarray(cv2.resize(bits, smaller, interpolation=cv2.INTER_AREA), np.uint8)
    else:
        centre = centre[0] - left, centre[1] - top
    # Column i of pixels spans i to i + 1.
    shift = canvas / 2 - 0.5 + turn @ (0.5 - np.array(centre))
    matrix = np.hstack((turn, shift[:, None]))
    shown = warped(bits, matrix, canvas, 0)
    beyond = max(mask.area * scale**2 - float(shown.sum()) / 255, 0.0)
    return Scene(warped(image, matrix, canvas, GREY), shown, beyond, size)


def _seen(turn: NDArray[np.float64], centre: Point, canvas: int, width: int, height: int) -> tuple[int, int, int, int]:
    """The part of a photograph that the canvas shows: left, top, right, bottom; at least one pixel."""
    corners = np.array(((-1, -1), (-1, 1), (1, -1), (1, 1))) * canvas / 2
    found = corners @ np.linalg.inv(turn).T + np.array(centre)
    (left, top), (right, bottom) = np.floor(found.min(axis=0)) - _ALMOST, np.ceil(found.max(axis=0)) + _ALMOST
    left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
    return int(left), int(top), int(max(min(right, width), left + 1)), int(max(min(bottom, height), top + 1))


def _put(bits: Share, mask: Mask, left: int, top: int) -> None:
    """Set the pixels of a mask in the part of its picture that starts there."""
    x0, y0 = max(mask.x, left), max(mask.y, top)
    x1, y1 = min(mask.x + mask.width, left + bits.shape[1]), min(mask.y + mask.height, top + bits.shape[0])
    if x0 < x1 and y0 < y1:
        inside = mask.bits[y0 - mask.y : y1 - mask.y, x0 - mask.x : x1 - mask.x]
        bits[y0 - top : y1 - top, x0 - left : x1 - left] = inside * np.uint8(255)


def warped(pixels: NDArray[np.uint8], matrix: NDArray[np.float64], canvas: int, outside: int) -> NDArray[np.uint8]:
    """Pixels moved by an affine matrix of indices to a canvas, which is `outside` beyond them."""
    size, border = (canvas, canvas), (outside,) * 3
    moved = cv2.warpAffine(
        pixels, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=border
    )
    return np.asarray(moved, np.uint8)


def on_other_background(scene: Scene, other: Scene) -> Scene:
    """The object alone, with soft edges, in front of another one's photograph."""
    return replace(scene, image=blend(other.image, scene.image, scene.mask))


def beside(scene: Scene, other: Scene, rng: np.random.Generator) -> Scene:
    """Another object moved to where it hides a part of the scene's object, mostly: in any direction from its middle."""
    angle, distance = rng.uniform(0, 2 * math.pi), rng.uniform(*_DISTANCE) * scene.size
    matrix = np.array(((1, 0, distance * math.cos(angle)), (0, 1, distance * math.sin(angle))))
    canvas = scene.canvas
    return replace(other, image=warped(other.image, matrix, canvas, GREY), mask=warped(other.mask, matrix, canvas, 0))


def behind(scene: Scene, other: Scene | None) -> Scene:
    """The scene with another object in front, if there is one; its mask is what is left to see."""
    if other is None:
        return scene
    left = np.where(other.mask > 127, 0, scene.mask).astype(np.uint8)
    return replace(scene, image=blend(scene.image, other.image, other.mask), mask=left)


def blend(below: Image, above: Image, mask: Share) -> Image:
    """A picture with another one in front of it where the mask is, with soft edges."""
    share = cv2.GaussianBlur(mask, (3, 3), 0)[..., None].astype(np.float32) / 255
    return (below + (above.astype(np.float32) - below) * share).astype(np.uint8)
