"""Drawn scenes in which textured objects move as they do in front of cameras, with the truth of each frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.propagate_footage import Shown
from streamseg.masks import Mask
from streamseg.messages import Image
from streamseg.sources.crossing import outlined, textured
from streamseg.train.augmentation import jittered

WIDTH: Final = 1280
HEIGHT: Final = 720
FRAMES: Final = 75
_MIDDLE = FRAMES // 2
_OBJECT = (200, 300)
"""Width and height of each object at scale 1."""
_MARGIN = 8
"""Around it in its picture, in pixels."""
_WALL_WIDTH = 110
"""Narrower than the object behind it, of which some is always visible."""
_SHAKE = 4
"""Pixels by which a shaking camera is off, each way: from one frame to the next it jumps by up to twice that."""
_BOX_SPREAD = 0.03
"""Of the boxes' edges, standard deviation as a share of the box's sides."""
_NOISE = 3.0
"""Of each pixel's values (standard deviation)."""
_NOISE_PLACES = 64
"""Along each axis, from which a frame's noise is taken out of a larger picture of it."""
_CONTRAST = 50.0
"""Of textures, in grey levels."""
_SOFT_EDGE = 0.7
"""Blur of an outline, as a lens makes it: standard deviation in pixels."""


class Pose(NamedTuple):
    """Where an object is: its centre in pixels, its scale, and its turn in degrees."""

    x: float
    y: float
    scale: float = 1.0
    degrees: float = 0.0


@dataclass(frozen=True, slots=True)
class Kind:
    """What happens in a scene.

    Attributes:
        name: In one word.
        objects: How many; later ones hide earlier ones.
        pose: Of an object by its number and the frames since the scene's middle; the scene may be mirrored.
        wall: Whether a wall stands in front of the middle.
        shakes: Whether the camera does.
    """

    name: str
    objects: int
    pose: Callable[[int, int], Pose]
    wall: bool = False
    shakes: bool = False


_X, _Y = WIDTH / 2, HEIGHT / 2

KINDS: Final = (
    Kind("translation", 1, lambda _, t: Pose(_X + 4 * t, _Y + t)),
    Kind("scale", 1, lambda _, t: Pose(_X, _Y, 1.0 + 0.009 * t)),
    Kind("rotation", 1, lambda _, t: Pose(_X, _Y, 1.0, 1.5 * t)),
    Kind("crossing", 2, lambda index, t: Pose(_X + (5 if index else -5) * t, _Y + (40 if index else -40))),
    Kind("occlusion", 1, lambda _, t: Pose(_X + 5 * t, _Y), wall=True),
    Kind("fast", 1, lambda _, t: Pose(_X + 12 * t, _Y + t)),
    Kind("shake", 1, lambda _, t: Pose(_X + 2 * t, _Y), shakes=True),
)
"""What is measured on."""

FIVE_OBJECTS: Final = Kind(
    "five",
    5,
    lambda index, t: Pose(140 + 250 * index + 25 * math.sin(t / 8 + index), _Y + 50 * math.cos(t / 8 + index)),
)
"""What is timed on: objects that circle side by side."""


def film(kind: Kind, seed: int, backdrop: Image | None = None, frames: int = FRAMES) -> Iterator[Shown]:
    """Draw a scene of 1280x720, frame by frame.

    Args:
        kind: What happens.
        seed: Of the objects, of the boxes' errors, and of noise; the scenes of odd ones are mirrored.
        backdrop: A picture to put behind, of any size; None draws one.
        frames: How many.
    """
    random = np.random.default_rng((seed, *kind.name.encode()))
    behind = (
        textured(random, HEIGHT + 2 * _SHAKE, WIDTH + 2 * _SHAKE, contrast=_CONTRAST)
        if backdrop is None
        else _filling(backdrop)
    )
    objects = [_object(random) for _ in range(kind.objects)]
    wall = textured(random, HEIGHT, _WALL_WIDTH, contrast=_CONTRAST) if kind.wall else None
    noise = random.normal(0, _NOISE, (HEIGHT + _NOISE_PLACES, WIDTH + _NOISE_PLACES, 3)).astype(np.int16)
    for frame in range(frames):
        shift = random.integers(-_SHAKE, _SHAKE + 1, 2) if kind.shakes else np.zeros(2, np.int64)
        poses = [_seen_from(kind.pose(index, frame - _MIDDLE), seed, shift) for index in range(kind.objects)]
        x, y = _SHAKE - shift
        image = behind[y : y + HEIGHT, x : x + WIDTH].copy()
        owner = _paint(image, objects, poses, wall)
        y, x = random.integers(_NOISE_PLACES, size=2)
        noisy = cv2.add(image, noise[y : y + HEIGHT, x : x + WIDTH], dtype=cv2.CV_8U)
        masks = tuple(Mask.crop(owner == index) for index in range(kind.objects))
        boxes = tuple(None if mask is None else jittered(mask.xyxy, _BOX_SPREAD, random) for mask in masks)
        yield Shown(np.asarray(noisy, np.uint8), masks, boxes)


@dataclass(frozen=True, slots=True, eq=False)
class _Object:
    """A picture that is larger than the object, shape (height, width, 3), and how much of each pixel is the object's, 0 to 1."""

    picture: Image
    share: NDArray[np.float32]


def _object(random: np.random.Generator) -> _Object:
    """An irregular outline with a texture of its own, which fills `_OBJECT`."""
    corners = outlined(random, 1, 1)
    corners = (corners - corners.min(axis=0)) / np.ptp(corners, axis=0) * _OBJECT
    inside = np.zeros((_OBJECT[1] + 2 * _MARGIN, _OBJECT[0] + 2 * _MARGIN), np.uint8)
    cv2.fillPoly(inside, [np.rint(corners + _MARGIN).astype(np.int32)], (1,))
    share = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), _SOFT_EDGE)
    return _Object(textured(random, *inside.shape, contrast=_CONTRAST), np.asarray(share, np.float32))


def _seen_from(pose: Pose, seed: int, shift: NDArray[np.int64]) -> Pose:
    x = WIDTH - pose.x if seed % 2 else pose.x
    return pose._replace(x=x + float(shift[0]), y=pose.y + float(shift[1]))


def _paint(image: Image, objects: list[_Object], poses: list[Pose], wall: Image | None) -> NDArray[np.int8]:
    """Put the objects on a picture, then the wall; says which object each pixel shows, -1 for none: shape (height, width)."""
    owner = np.full(image.shape[:2], -1, np.int8)
    for index, (one, pose) in enumerate(zip(objects, poses, strict=True)):
        height, width = one.share.shape
        matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), pose.degrees, pose.scale)
        matrix[:, 2] += (pose.x - width / 2, pose.y - height / 2)
        corners = matrix @ np.array([(0, width, 0, width), (0, 0, height, height), (1, 1, 1, 1)])
        left, top = np.clip(np.floor(corners.min(axis=1)).astype(int), 0, (WIDTH, HEIGHT))
        right, bottom = np.clip(np.ceil(corners.max(axis=1)).astype(int) + 1, 0, (WIDTH, HEIGHT))
        matrix[:, 2] -= (left, top)
        size = int(right - left), int(bottom - top)
        share = cv2.warpAffine(one.share, matrix, size)
        picture = cv2.warpAffine(one.picture, matrix, size, borderMode=cv2.BORDER_REPLICATE)
        there = np.s_[top:bottom, left:right]
        image[there] = image[there] * (1 - share[..., None]) + picture * share[..., None]
        owner[there][share > 0.5] = index
    if wall is not None:
        left = (WIDTH - _WALL_WIDTH) // 2
        image[:, left : left + _WALL_WIDTH] = wall
        owner[:, left : left + _WALL_WIDTH] = -1
    return owner


def _filling(picture: Image) -> Image:
    """The middle of a picture, as large as a scene with its camera's shaking needs it."""
    width, height = WIDTH + 2 * _SHAKE, HEIGHT + 2 * _SHAKE
    scale = max(width / picture.shape[1], height / picture.shape[0])
    size = max(round(picture.shape[1] * scale), width), max(round(picture.shape[0] * scale), height)
    large = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.asarray(large[top : top + height, left : left + width], np.uint8)
