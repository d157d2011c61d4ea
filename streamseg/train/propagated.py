"""Priors as propagation makes them: a short film that ends with a scene, and the mask of its first frame in its last.

Background, object and what passes in front of it move by smooth affine motions of their own, and the object bends. The
film ends where they lie in the scene, so a sample has the pixels of a photograph; what the object uncovers in earlier
frames is filled with the colours around it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import Detection, Image, ObjectMask
from streamseg.propagate.keyframe_mask import FrameTime, make_keyframe_masks
from streamseg.propagate.propagator import Budget, Propagator
from streamseg.train.augmentation import as_filmed, jittered
from streamseg.train.scene import Scene, Share
from streamseg.window import Plane

_FRAMES = (3, 6)
"""Fewest and most frames of a film."""
_SIDE = 224
"""Of its frames, in pixels: crops of one object for propagation are hardly smaller."""
_FRAME_NS = 33_000_000
_BUDGET = Budget(max_age_ns=10**10, missed_frames=5)
_SPREADS = (0.0, 0.02, 0.05)
"""Standard deviations of the edges of detected boxes in a film, as a share of their sides; one for each film."""
_NOISIEST = 10
"""Levels of a frame's noise, at most."""


@dataclass(frozen=True, slots=True)
class _Extent:
    """Standard deviations of a motion from the first frame to the last.

    Attributes:
        shift: As a share of the object's longer side.
        turn: In radians.
        stretch: Of the logarithm of the factors along x and y.
        bend: As a share of the object's longer side.
    """

    shift: float
    turn: float
    stretch: float
    bend: float


_BACKGROUND = _Extent(0.12, 0.04, 0.04, 0)
_OBJECT = _Extent(0.2, 0.2, 0.15, 0.05)
_FRONT = _Extent(0.9, 0.1, 0.1, 0)


class _Motion:
    """A smooth motion that ends at rest: `back` is 1 in the first frame and 0 in the last."""

    def __init__(self, extent: _Extent, scene: Scene, rng: np.random.Generator) -> None:
        size = scene.size * _SIDE / scene.canvas
        spreads = (extent.shift * size,) * 2, (extent.turn,), (extent.stretch,) * 2
        deviations = np.concatenate(spreads)
        self._straight, self._curved = rng.normal(0, 1, (2, 5)) * deviations
        self._bend: Plane | None = None
        if extent.bend:
            coarse = int(rng.integers(3, 6))
            flow = rng.standard_normal((coarse, coarse, 2), np.float32) * np.float32(extent.bend * size)
            self._bend = np.asarray(cv2.resize(flow, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC), np.float32)
        rows, columns = np.nonzero(scene.mask > 127)
        middle = np.array((columns.mean(), rows.mean())) if len(rows) else np.full(2, scene.canvas / 2)
        self._middle = middle * _SIDE / scene.canvas

    def moved(self, pixels: NDArray[np.uint8], back: float, border: int) -> NDArray[np.uint8]:
        """Pixels of the last frame as they lie in an earlier one."""
        x, y, turn, wide, high = self._straight * back + self._curved * back * (1 - back)
        cosine, sine = np.cos(turn), np.sin(turn)
        # From a pixel of the earlier frame to where it is in the last.
        matrix = np.array(((cosine, -sine), (sine, cosine))) @ np.diag(np.exp((wide, high)))
        shift = self._middle - matrix @ (self._middle + np.array((x, y)))
        affine = np.hstack((matrix, shift[:, None]))
        if self._bend is None:
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            return np.asarray(cv2.warpAffine(pixels, affine, (_SIDE, _SIDE), flags=flags, borderMode=border), np.uint8)
        x_of, y_of = cv2.split(cv2.transform(_grid(), affine) + self._bend * np.float32(back))
        return np.asarray(cv2.remap(pixels, x_of, y_of, cv2.INTER_LINEAR, borderMode=border), np.uint8)


def propagated(scene: Scene, front: Scene | None, rng: np.random.Generator) -> Mask | None:
    """The mask of an object in the first frame of a film, propagated to the last, which shows a scene.

    Args:
        scene: The scene without what is in front of its object.
        front: That other object, on the same canvas.
        rng: Random generator.

    Returns:
        The mask in pixels of the canvas; None if the object is hidden at first, or propagation trusts no mask at last.
    """
    spread = float(rng.choice(_SPREADS))
    propagator = Propagator(_BUDGET)
    mask: Mask | None = None
    for seq, (image, share) in enumerate(_film(scene, front, rng)):
        frame = FrameTime(seq, seq * _FRAME_NS)
        true = Mask.crop(share > 127)
        detections = [] if true is None else [_detection(jittered(true.xyxy, spread, rng))]
        if seq == 0:
            if true is None:
                return None
            propagator.add(make_keyframe_masks(frame, image, detections, [ObjectMask(true)]))
        mask = next((found.mask for found in propagator.update(frame, image, detections)), None)
    return None if mask is None else _enlarged(mask, scene.canvas)


def _film(scene: Scene, front: Scene | None, rng: np.random.Generator) -> Iterator[tuple[Image, Share]]:
    """The frames, each with the visible part of the object."""
    image, mask = as_filmed(_reduced(scene.image), rng), _reduced(scene.mask)
    background, alone = _uncovered(image, mask), np.dstack((image, mask))
    before = None if front is None else np.dstack((_reduced(front.image), _reduced(front.mask)))
    of_background, of_object = _Motion(_BACKGROUND, scene, rng), _Motion(_OBJECT, scene, rng)
    of_front = _Motion(_FRONT, scene, rng)
    noise = int(rng.integers(0, _NOISIEST + 1))
    last = int(rng.integers(_FRAMES[0], _FRAMES[1] + 1)) - 1
    for seq in range(last + 1):
        back = 1 - seq / last
        shown = of_background.moved(background, back, cv2.BORDER_REFLECT_101)
        layer = of_object.moved(alone, back, cv2.BORDER_CONSTANT)
        shown, share = _in_front(shown, layer), layer[..., 3]
        if before is not None:
            layer = of_front.moved(before, back, cv2.BORDER_CONSTANT)
            shown, share = _in_front(shown, layer), np.where(layer[..., 3] > 127, 0, share).astype(np.uint8)
        if noise:
            grain = rng.integers(0, 2 * noise + 1, shown.shape, np.uint8)
            shown = np.asarray(cv2.addWeighted(shown, 1, grain, 1, -noise), np.uint8)
        yield shown, share


def _uncovered(image: Image, mask: Share) -> Image:
    """The picture without the object: the colours around it in its place."""
    covered = cv2.dilate(mask, np.ones((5, 5), np.uint8))
    rest = (255 - covered).astype(np.float32) / 255
    small = (_SIDE // 8, _SIDE // 8)
    colours = cv2.resize(image * rest[..., None], small, interpolation=cv2.INTER_AREA)
    weights = cv2.resize(rest, small, interpolation=cv2.INTER_AREA)
    colours, weights = cv2.GaussianBlur(colours, (0, 0), 2), cv2.GaussianBlur(weights, (0, 0), 2)
    mean = np.float32(1e-3) * colours.sum(axis=(0, 1)) / max(float(weights.sum()), 1e-3)
    around = (colours + mean) / (weights + np.float32(1e-3))[..., None]
    filled = np.clip(cv2.resize(around, (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR), 0, 255).astype(np.uint8)
    return np.asarray(cv2.blendLinear(image, filled, rest, 1 - rest), np.uint8)


def _in_front(below: Image, layer: NDArray[np.uint8]) -> Image:
    """A layer of shape (_SIDE, _SIDE, 4), whose last channel is its share of each pixel, in front of a picture."""
    share = layer[..., 3].astype(np.float32) * np.float32(1 / 255)
    return np.asarray(cv2.blendLinear(np.ascontiguousarray(layer[..., :3]), below, share, 1 - share), np.uint8)


@functools.lru_cache(maxsize=1)
def _grid() -> Plane:
    """Column and row of each pixel: shape (_SIDE, _SIDE, 2)."""
    rows, columns = np.mgrid[:_SIDE, :_SIDE].astype(np.float32)
    return np.dstack((columns, rows))


def _reduced(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _enlarged(mask: Mask, canvas: int) -> Mask | None:
    """The mask in pixels of the canvas."""
    bits = mask.paste(_SIDE, _SIDE).astype(np.uint8) * np.uint8(255)
    return Mask.crop(cv2.resize(bits, (canvas, canvas), interpolation=cv2.INTER_LINEAR) > 127)


def _detection(box: Box) -> Detection:
    return Detection(xyxy=box, confidence=1.0, class_id=0, class_name="object", tracker_id=1)
