"""Drawn scenes with true masks, in which textured objects move as they do in front of cameras."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.truth import TrueFrame
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
"""Pixels around an object in its picture."""
_WALL_WIDTH = 110
"""Less than the width of the object behind it, which so stays partly visible."""
_SHAKE = 4
"""Offset of a shaking camera in pixels, each way; from one frame to the next it jumps by up to twice that."""
_BOX_SPREAD = 0.03
"""Standard deviation of the boxes' edges, as a share of the box's sides."""
_NOISE = 3.0
"""Standard deviation of the noise in each pixel's values."""
_NOISE_PLACES = 64
"""Each frame's noise is cut from one of 64 x 64 places of a larger picture of noise."""
_CONTRAST = 50.0
"""Of textures, in grey levels."""
_SOFT_EDGE = 0.7
"""Blur of an outline, as a lens makes it: standard deviation in pixels."""


class Pose(NamedTuple):
    """An object's centre in pixels, its scale, and its rotation in degrees."""

    x: float
    y: float
    scale: float = 1.0
    degrees: float = 0.0


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of scene.

    Attributes:
        name: One word.
        objects: Number of objects; later ones hide earlier ones.
        pose: Pose of an object, from its number and the frames since the scene's middle; the scene may be mirrored.
        wall: Whether a wall stands in front of the middle.
        shakes: Whether the camera shakes.
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
"""The scenes for quality."""

FIVE_OBJECTS: Final = Kind(
    "five",
    5,
    lambda index, t: Pose(140 + 250 * index + 25 * math.sin(t / 8 + index), _Y + 50 * math.cos(t / 8 + index)),
)
"""The scene for speed: objects circle side by side."""


def film(kind: Kind, seed: int, backdrop: Image | None = None, frames: int = FRAMES) -> Iterator[TrueFrame]:
    """Draw a scene of 1280x720, frame by frame.

    Args:
        kind: Kind of scene.
        seed: Of objects, box errors and noise; odd seeds mirror the scene.
        backdrop: A picture for the background, of any size; None draws a texture.
        frames: Number of frames.
    """
    random = np.random.default_rng((seed, *kind.name.encode()))
    behind = (
        textured(random, HEIGHT + 2 * _SHAKE, WIDTH + 2 * _SHAKE, contrast=_CONTRAST)
        if backdrop is None
        else _fit_backdrop(backdrop)
    )
    objects = [_object(random) for _ in range(kind.objects)]
    wall = textured(random, HEIGHT, _WALL_WIDTH, contrast=_CONTRAST) if kind.wall else None
    noise = random.normal(0, _NOISE, (HEIGHT + _NOISE_PLACES, WIDTH + _NOISE_PLACES, 3)).astype(np.int16)
    for frame in range(frames):
        shift = random.integers(-_SHAKE, _SHAKE + 1, 2) if kind.shakes else np.zeros(2, np.int64)
        poses = [_in_camera(kind.pose(index, frame - _MIDDLE), seed, shift) for index in range(kind.objects)]
        x, y = _SHAKE - shift
        image = behind[y : y + HEIGHT, x : x + WIDTH].copy()
        owner = _paint(image, objects, poses, wall)
        y, x = random.integers(_NOISE_PLACES, size=2)
        noisy = cv2.add(image, noise[y : y + HEIGHT, x : x + WIDTH], dtype=cv2.CV_8U)
        masks = tuple(Mask.crop(owner == index) for index in range(kind.objects))
        boxes = tuple(None if mask is None else jittered(mask.xyxy, _BOX_SPREAD, random) for mask in masks)
        yield TrueFrame(np.asarray(noisy, np.uint8), masks, boxes)


@dataclass(frozen=True, slots=True, eq=False)
class _Object:
    """A picture larger than the object, shape (height, width, 3), and its coverage of each pixel, 0 to 1."""

    picture: Image
    coverage: NDArray[np.float32]


def _object(random: np.random.Generator) -> _Object:
    """Make an object of size `_OBJECT`: an irregular outline with a texture."""
    corners = outlined(random, 1, 1)
    corners = (corners - corners.min(axis=0)) / np.ptp(corners, axis=0) * _OBJECT
    inside = np.zeros((_OBJECT[1] + 2 * _MARGIN, _OBJECT[0] + 2 * _MARGIN), np.uint8)
    cv2.fillPoly(inside, [np.rint(corners + _MARGIN).astype(np.int32)], (1,))
    coverage = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), _SOFT_EDGE)
    return _Object(textured(random, *inside.shape, contrast=_CONTRAST), np.asarray(coverage, np.float32))


def _in_camera(pose: Pose, seed: int, shift: NDArray[np.int64]) -> Pose:
    x = WIDTH - pose.x if seed % 2 else pose.x
    return pose._replace(x=x + float(shift[0]), y=pose.y + float(shift[1]))


def _paint(image: Image, objects: list[_Object], poses: list[Pose], wall: Image | None) -> NDArray[np.int8]:
    """Draw the objects on a picture, then the wall; return the object that each pixel shows, -1 for none."""
    owner = np.full(image.shape[:2], -1, np.int8)
    for index, (one, pose) in enumerate(zip(objects, poses, strict=True)):
        height, width = one.coverage.shape
        matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), pose.degrees, pose.scale)
        matrix[:, 2] += (pose.x - width / 2, pose.y - height / 2)
        corners = matrix @ np.array([(0, width, 0, width), (0, 0, height, height), (1, 1, 1, 1)])
        left, top = np.clip(np.floor(corners.min(axis=1)).astype(int), 0, (WIDTH, HEIGHT))
        right, bottom = np.clip(np.ceil(corners.max(axis=1)).astype(int) + 1, 0, (WIDTH, HEIGHT))
        matrix[:, 2] -= (left, top)
        size = int(right - left), int(bottom - top)
        coverage = cv2.warpAffine(one.coverage, matrix, size)
        picture = cv2.warpAffine(one.picture, matrix, size, borderMode=cv2.BORDER_REPLICATE)
        region = np.s_[top:bottom, left:right]
        image[region] = image[region] * (1 - coverage[..., None]) + picture * coverage[..., None]
        owner[region][coverage > 0.5] = index
    if wall is not None:
        left = (WIDTH - _WALL_WIDTH) // 2
        image[:, left : left + _WALL_WIDTH] = wall
        owner[:, left : left + _WALL_WIDTH] = -1
    return owner


def _fit_backdrop(picture: Image) -> Image:
    """Scale and crop a picture to a scene plus the shaking of its camera."""
    width, height = WIDTH + 2 * _SHAKE, HEIGHT + 2 * _SHAKE
    scale = max(width / picture.shape[1], height / picture.shape[0])
    size = max(round(picture.shape[1] * scale), width), max(round(picture.shape[0] * scale), height)
    large = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.asarray(large[top : top + height, left : left + width], np.uint8)
