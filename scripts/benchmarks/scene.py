"""What the models are measured on: a picture with twenty objects, and a box around each."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.masks import Bits
from streamseg.messages import Image

_HEIGHT, _WIDTH = 720, 1280
_COLUMNS, _ROWS = 5, 4
BOXES = _COLUMNS * _ROWS


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture and where its objects are.

    Attributes:
        image: Shape (height, width, 3), uint8, BGR.
        objects: Shape (20, height, width): the pixels inside each object's outline.
        boxes: Shape (20, 4), float32: left, top, right, bottom in pixels; the first ones lie far from each other.
    """

    image: Image
    objects: Bits
    boxes: NDArray[np.float32]


def draw_scene(image: Image | None = None, seed: int = 0) -> Scene:
    """Draw twenty ellipses of 2 to 20 % of the picture, with a colour and a texture each, over coloured clouds.

    Args:
        image: A picture of one's own, shape (height, width, 3), uint8, BGR, to put the same boxes on; nothing is drawn on it.
        seed: Another one makes another picture.
    """
    random = np.random.default_rng(seed)
    height, width = (_HEIGHT, _WIDTH) if image is None else image.shape[:2]
    picture = _clouds(random, height, width) if image is None else image
    objects = np.zeros((BOXES, height, width), np.bool_)
    for index, place in enumerate(random.permutation(BOXES)):
        outline = np.zeros((height, width), np.uint8)
        row, column = divmod(int(place), _COLUMNS)
        centre = (
            (column + random.uniform(0.4, 0.6)) / _COLUMNS * width,
            (row + random.uniform(0.4, 0.6)) / _ROWS * height,
        )
        axes = (random.uniform(0.16, 0.36) * width, random.uniform(0.28, 0.6) * height)
        cv2.ellipse(outline, (centre, axes, random.uniform(-30, 30)), 1, thickness=cv2.FILLED)
        objects[index] = outline.view(np.bool_)
        if image is None:
            _paint(picture, objects[index], random)
    if image is None:
        picture = np.clip(picture + random.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
    return Scene(picture, objects, np.array([_box(outline) for outline in objects], np.float32))


def _clouds(random: np.random.Generator, height: int, width: int) -> Image:
    coarse = random.uniform(40, 215, (6, 10, 3)).astype(np.float32)
    smooth: Image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    return smooth


def _paint(picture: Image, inside: Bits, random: np.random.Generator) -> None:
    rows, columns = np.nonzero(inside)
    angle, period = random.uniform(0, np.pi), random.uniform(8, 40)
    stripes = np.sin((np.cos(angle) * columns + np.sin(angle) * rows) * (2 * np.pi / period))
    picture[inside] = np.clip(random.uniform(30, 225, 3) + random.uniform(15, 45) * stripes[:, None], 0, 255).astype(
        np.uint8
    )


def _box(outline: Bits) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(outline.any(axis=1)), np.flatnonzero(outline.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
