"""Objects that move over a textured background, with the truth of each frame, for tests of propagation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from streamseg.masks import Mask
from streamseg.messages import Detection, Image

WIDTH, HEIGHT = 480, 360
Pose = tuple[float, float, float, float]
"""Centre x and y in pixels, scale, and turn in degrees."""


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """A star with stripes of its own: shape (height, width, 3) and (height, width)."""

    picture: Image
    inside: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def sprite(seed: int, size: int = 120) -> Sprite:
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    radii = size * np.where(np.arange(10) % 2, 0.28, 0.46)
    corners = np.stack((size / 2 + radii * np.cos(angles), size / 2 + radii * np.sin(angles)), axis=-1)
    inside = np.zeros((size, size), np.uint8)
    cv2.fillPoly(inside, [corners.astype(np.int32)], (255,))
    rough = rng.integers(0, 90, (size // 6, size // 6, 3), np.uint8)
    picture = cv2.resize(rough, (size, size), interpolation=cv2.INTER_CUBIC) + rng.integers(60, 160, 3).astype(np.uint8)
    return Sprite(np.asarray(picture, np.uint8), inside)


def background(seed: int = 0) -> Image:
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.integers(0, 256, (18, 24, 3), np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    fine = cv2.resize(rng.integers(0, 60, (90, 120, 3), np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.addWeighted(coarse, 0.6, fine, 0.7, 0), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One frame and the visible part of each object; None for an object that is hidden."""

    image: Image
    masks: tuple[Mask | None, ...]


def film(
    frames: int,
    sprites: list[Sprite],
    pose: Callable[[int, int], Pose | None],
    shift: Callable[[int], int] = lambda _: 0,
) -> list[Shown]:
    """Frames with sprite `i` at `pose(i, frame)` in front of earlier ones; the background moves by `shift(frame)`."""
    return [_frame(place, sprites, pose, shift) for place in range(frames)]


def _frame(
    place: int, sprites: list[Sprite], pose: Callable[[int, int], Pose | None], shift: Callable[[int], int]
) -> Shown:
    image = np.roll(background(), shift(place), axis=1)
    owner = np.full((HEIGHT, WIDTH), -1)
    for index, one in enumerate(sprites):
        posed = pose(index, place)
        if posed is None:
            continue
        x, y, scale, turn = posed
        matrix = cv2.getRotationMatrix2D((one.inside.shape[1] / 2, one.inside.shape[0] / 2), turn, scale)
        matrix[:, 2] += np.array([x - one.inside.shape[1] / 2, y - one.inside.shape[0] / 2])
        inside = cv2.warpAffine(one.inside, matrix, (WIDTH, HEIGHT)) > 127
        image[inside] = cv2.warpAffine(one.picture, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)[inside]
        owner[inside] = index
    noise = np.random.default_rng(place).normal(0, 3, image.shape)
    return Shown(
        np.clip(image + noise, 0, 255).astype(np.uint8),
        tuple(Mask.crop(owner == index) for index in range(len(sprites))),
    )


def detection(mask: Mask, number: int | None, box: tuple[float, float, float, float] | None = None) -> Detection:
    return Detection(xyxy=box or mask.xyxy, confidence=0.9, class_id=0, class_name="star", tracker_id=number)
