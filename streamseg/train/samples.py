"""Training samples: an object with random rotation, camera effects, box and prior."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.errors import DataError
from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import Image
from streamseg.models.segmenters.nano import SIDE
from streamseg.models.segmenters.nano.drawing import normalise
from streamseg.train.augmentation import as_filmed, stale
from streamseg.train.outlines import Photograph
from streamseg.window import box_plane, crop, seen_plane, window_around

_SURROUNDINGS = 0.8
"""Width of the surroundings on each side, as a share of the object's longer side: room to turn and move it."""
_LONGEST_SIDE = 320
"""Pixels; larger patches are reduced."""


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A square cut out around one object.

    Attributes:
        image: Shape (side, side, 3), uint8, BGR; grey outside the photograph.
        mask: Shape (side, side), uint8, 255 on the object.
        object_side: Longer side of the object's rectangle, in pixels of the patch.
    """

    image: Image
    mask: NDArray[np.uint8]
    object_side: float


def read_patch(photograph: Photograph, mask: Mask) -> Patch:
    """Cut an object out of its photograph.

    Raises:
        SourceError: The file is no picture.
        DataError: Its size does not match the outline.
    """
    image = photograph.read()
    longer = max(mask.width, mask.height)
    side = round(longer * (1 + 2 * _SURROUNDINGS))
    left, top = mask.x + mask.width // 2 - side // 2, mask.y + mask.height // 2 - side // 2
    picture: NDArray[np.uint8] = np.full((side, side, 3), _GREY, np.uint8)
    bits: NDArray[np.uint8] = np.zeros((side, side), np.uint8)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, image.shape[1]), min(top + side, image.shape[0])
    picture[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    bits[mask.y - top : mask.y - top + mask.height, mask.x - left : mask.x - left + mask.width] = mask.bits * np.uint8(
        255
    )
    if side > _LONGEST_SIDE:
        picture, bits = _reduced(picture), _reduced(bits)
    return Patch(picture, bits, longer * picture.shape[0] / side)


def _reduced(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(pixels, (_LONGEST_SIDE, _LONGEST_SIDE), interpolation=cv2.INTER_AREA), np.uint8)


BATCH: Final = 32
_CANVAS = 224
"""Side in pixels of the square in which objects are turned before the window is cut out."""
_OBJECT = (80.0, 130.0)
"""Range of the object's longer side in that square, in pixels."""
_TRIES = 100
_PATCHES_KEPT = 2500
"""In each process that prepares samples; at most 410 KB each."""
_GREY = 127
_SMALL_OBJECT = 96.0
"""Longer side in pixels below which an object is drawn less often: outlines of small ones are coarse."""

Planes = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Inputs of the network and the mask that it should predict.

    Attributes:
        picture: Shape (3, SIDE, SIDE); see `NanoNetwork.forward`.
        hints: Shape (3, SIDE, SIDE).
        target: Shape (SIDE, SIDE), 0 to 1.
    """

    picture: Planes
    hints: Planes
    target: Planes


class Samples:
    """Random samples, determined by the seed and their number."""

    def __init__(self, photographs: Sequence[Photograph], seed: int) -> None:
        self._objects = [(photograph, mask) for photograph in photographs for mask in photograph.masks]
        shares = np.array([_share(mask) for _, mask in self._objects])
        self._shares = np.cumsum(shares / shares.sum())
        self._seed = seed
        self._patches: dict[int, Patch] = {}

    def __len__(self) -> int:
        """The number of objects."""
        return len(self._objects)

    def batch(self, number: int) -> tuple[Planes, Planes, Planes]:
        """The batch with that number: pictures, hints and targets.

        Raises:
            DataError: A photograph does not match its outlines.
            SourceError: A photograph cannot be read.
        """
        samples = [self.draw(place) for place in range(number * BATCH, (number + 1) * BATCH)]
        return (
            np.stack([sample.picture for sample in samples]),
            np.stack([sample.hints for sample in samples]),
            np.stack([sample.target for sample in samples]),
        )

    def draw(self, number: int) -> Sample:
        """The sample with that number.

        Raises:
            DataError: A photograph cannot be read, or does not match its outlines.
        """
        rng = np.random.default_rng((self._seed, number))
        for _ in range(_TRIES):
            scene = _turned(self._pick(rng), rng)
            if rng.random() < 0.1:
                scene = _on_other_background(scene, _turned(self._pick(rng), rng))
            if rng.random() < 0.08:
                scene = _occluded(scene, _turned(self._pick(rng), rng), rng)
            true = Mask.crop(scene.mask > 127)
            if true is not None and min(true.width, true.height) >= 8:
                return _framed(scene, true, rng)
        raise DataError(f"{_TRIES} objects in a row were too thin to train on; remove such outlines")

    def _pick(self, rng: np.random.Generator) -> Patch:
        place = int(np.searchsorted(self._shares, rng.random()))
        return self._patch(min(place, len(self._objects) - 1))

    def _patch(self, place: int) -> Patch:
        patch = self._patches.get(place)
        if patch is None:
            patch = read_patch(*self._objects[place])
            if len(self._patches) < _PATCHES_KEPT:
                self._patches[place] = patch
        return patch


def _share(mask: Mask) -> float:
    """Relative frequency of an object: low if its outline is coarse, high if it fills little of its box."""
    filled = mask.area / (mask.width * mask.height)
    return min(max(max(mask.width, mask.height) / _SMALL_OBJECT, 0.35), 1.0) * (1.5 - filled)


def _turned(patch: Patch, rng: np.random.Generator) -> Patch:
    """The object in the middle of the canvas, mirrored, turned and stretched at random."""
    side = patch.image.shape[0]
    size = rng.uniform(*_OBJECT)
    scale = size / patch.object_side
    angle = rng.normal(0, 0.2) if rng.random() < 0.3 else 0.0
    stretch = math.exp(rng.normal(0, 0.06))
    turn = np.array(((math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle)))) * scale
    turn = turn @ np.diag((stretch, 1 / stretch))
    if rng.random() < 0.5:
        turn = turn @ np.diag((-1.0, 1.0))
    image, mask = patch.image, patch.mask
    middle = np.array((_CANVAS / 2 - 0.5, _CANVAS / 2 - 0.5)) - turn @ np.array((side / 2 - 0.5, side / 2 - 0.5))
    matrix = np.hstack((turn, middle[:, None]))
    if scale < 0.7:
        # Average first, as for windows of large objects.
        blur = 0.5 / scale - 0.3
        image, mask = _blurred(image, blur), _blurred(mask, blur)
    return Patch(_warped(image, matrix, _GREY), _warped(mask, matrix, 0), size)


def _blurred(pixels: NDArray[np.uint8], spread: float) -> NDArray[np.uint8]:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), spread), np.uint8)


def _warped(pixels: NDArray[np.uint8], matrix: NDArray[np.float64], outside: int) -> NDArray[np.uint8]:
    size, border = (_CANVAS, _CANVAS), (outside,) * 3
    warped = cv2.warpAffine(
        pixels, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=border
    )
    return np.asarray(warped, np.uint8)


def _on_other_background(scene: Patch, other: Patch) -> Patch:
    """The object alone, with soft edges, in front of another one's patch."""
    return Patch(_blend(other.image, scene.image, scene.mask), scene.mask, scene.object_side)


def _occluded(scene: Patch, other: Patch, rng: np.random.Generator) -> Patch:
    """The object with another one in front of a part of it."""
    shift = rng.uniform(0.3, 0.6, 2) * rng.choice((-1, 1), 2) * scene.object_side
    matrix = np.array(((1, 0, shift[0]), (0, 1, shift[1])))
    image, mask = _warped(other.image, matrix, _GREY), _warped(other.mask, matrix, 0)
    left = np.where(mask > 127, 0, scene.mask).astype(np.uint8)
    return Patch(_blend(scene.image, image, mask), left, scene.object_side)


def _blend(below: Image, above: Image, mask: NDArray[np.uint8]) -> Image:
    share = cv2.GaussianBlur(mask, (3, 3), 0)[..., None].astype(np.float32) / 255
    return (below + (above.astype(np.float32) - below) * share).astype(np.uint8)


def _framed(scene: Patch, true: Mask, rng: np.random.Generator) -> Sample:
    """The window of a more or less accurate box, with or without a prior."""
    box = _jittered(true.xyxy, rng)
    window = window_around(box, _CANVAS, _CANVAS)
    assert window is not None
    picture = as_filmed(crop(scene.image, window, SIDE), rng)
    target = seen_plane(scene.mask.astype(np.float32) / 255, 0, 0, window, SIDE)
    hints = np.zeros((3, SIDE, SIDE), np.float32)
    hints[0] = box_plane(box, window, SIDE)
    if rng.random() < 0.5:
        hints[1] = stale(target, rng)
        hints[2] = 1
    return Sample(normalise([picture])[0], hints, target)


def _jittered(box: Box, rng: np.random.Generator) -> Box:
    """A box with random edges: mostly as accurate as a good detector's, sometimes as a bad one's."""
    width, height = box[2] - box[0], box[3] - box[1]
    spread = float(rng.choice((0.0, 0.03, 0.06, 0.1), p=(0.3, 0.3, 0.28, 0.12)))
    moves = np.clip(rng.normal(0, spread, 4), -0.25, 0.25) * (width, height, width, height)
    left, top, right, bottom = np.array(box) + moves
    left, top = min(max(left, 0.0), _CANVAS - 4.0), min(max(top, 0.0), _CANVAS - 4.0)
    return (float(left), float(top), float(max(right, left + 3)), float(max(bottom, top + 3)))
