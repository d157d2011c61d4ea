"""Training samples: an object as cameras film it, with a box or points on it, and a prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamseg.errors import DataError
from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import Image
from streamseg.models.segmenters.nano.drawing import POINT_REACH, POINT_WINDOWS, Hints, normalise, square_around
from streamseg.train.augmentation import as_filmed, stale
from streamseg.train.balance import shares
from streamseg.train.outlines import Photograph
from streamseg.train.points import beside_object, on_object
from streamseg.train.propagated import propagated
from streamseg.train.scene import Scene, behind, beside, on_other_background, place
from streamseg.window import Plane, Point, Window, crop, mask_plane, seen_plane, window_around

BATCH: Final = 32
_CANVAS = 7 / 3
"""Side of the square in which objects are placed before the window is cut out, in sides of the network's pictures."""
_OBJECT = (5 / 6, 1.35)
"""Range of the object's longer side in that square, in the same measure."""
_SMALLEST = 1 / 12
"""Shorter side of an object in that square, at least, in the same measure."""
_TRIES = 100
_KEPT = 800 * 2**20
"""Bytes of photographs kept in memory by each process that prepares samples."""

_OTHER_BACKGROUND = 0.1
"""Share of the objects that stand in front of another photograph."""
_OCCLUDED = 0.35
"""Share of the objects with another one in front: half of those are hidden in part, and the target is what is seen."""
_FRONT_SIZES = (0.6, 1.4)
"""Range of the longer side of that other object, in longer sides of the hidden one."""
_LEAST_VISIBLE = 0.3
"""Share of an object that stays visible."""
_WITH_PRIOR = 0.5
"""Share of the samples with a box that have a prior."""
_PROPAGATED = 0.4
"""Share of the priors that propagation makes, in about 25 ms each; the others are distorted at random, in one."""
_FROM_POINTS = 0.25
"""Share of the samples without a box."""
_WITH_POINTS = 0.15
"""Share of the samples with a box that have points too."""
_SECOND_POINT = 0.4
"""Share of the samples with points that have two."""
_ON_OBJECT = 0.7
"""Share of those points on the object: without a box, the first one always is."""

_SPREADS = (0.0, 0.03, 0.06, 0.1, 0.15)
"""Standard deviations of the edges of a box, as a share of its sides."""
_DETECTED = (0.3, 0.3, 0.28, 0.12, 0.0)
"""How often a detector's box has these."""
_ROUGH = (0.1, 0.2, 0.3, 0.2, 0.2)
"""How often a box with points has: it may be that of a first mask from the points alone."""
_POINT_WINDOW = (1.15, 1.9)
"""Range of the sides of windows around points in the canvas, in sides of the network's pictures, as around boxes."""
_FITTING = (1.1, 2.8)
"""Range of the sides of fitting windows around points, in longer sides of the object."""
_ANY = (0.4, 8.0)
"""Of all windows: from those of other sizes, the network learns to expect little."""
_FITS = 0.6
"""Share of the fitting windows."""

Planes = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Inputs of the network and the mask that it should predict.

    Attributes:
        picture: Shape (3, side, side); see `NanoNetwork.forward`.
        hints: Shape (HINT_PLANES, side, side).
        target: Shape (side, side), 0 to 1.
        outside: Area of the object outside the window, in pixels of the target.
    """

    picture: Planes
    hints: Planes
    target: Planes
    outside: float


class Samples:
    """Random samples for a network with pictures of that side, determined by the seed and their number."""

    def __init__(self, photographs: Sequence[Photograph], side: int, seed: int) -> None:
        self._photographs = list(photographs)
        self._objects = [(of, mask) for of, photograph in enumerate(photographs) for mask in photograph.masks]
        self._shares = np.cumsum(shares(photographs))
        self._side = side
        self._canvas = round(side * _CANVAS)
        self._seed = seed
        self._images: dict[int, Image] = {}
        self._kept = 0

    def __len__(self) -> int:
        """The number of objects."""
        return len(self._objects)

    def batch(self, number: int) -> tuple[Planes, Planes, Planes, Planes]:
        """The batch with that number: pictures, hints, targets, and areas outside.

        Raises:
            DataError: A photograph does not match its outlines.
            SourceError: A photograph cannot be read.
        """
        samples = [self.draw(place) for place in range(number * BATCH, (number + 1) * BATCH)]
        return (
            np.stack([sample.picture for sample in samples]),
            np.stack([sample.hints for sample in samples]),
            np.stack([sample.target for sample in samples]),
            np.array([sample.outside for sample in samples], np.float32),
        )

    def draw(self, number: int) -> Sample:
        """The sample with that number.

        Raises:
            DataError: A photograph cannot be read, or does not match its outlines.
        """
        rng = np.random.default_rng((self._seed, number))
        draw = self._from_points if rng.random() < _FROM_POINTS else self._from_box
        for _ in range(_TRIES):
            sample = draw(rng)
            if sample is not None:
                return sample
        raise DataError(f"{_TRIES} objects in a row were too thin to train on; remove such outlines")

    def _from_box(self, rng: np.random.Generator) -> Sample | None:
        """A sample with a more or less accurate box, with or without points and a prior; None if too little is seen."""
        alone, front = self._surrounded(self._centred(rng), rng)
        scene = behind(alone, front)
        true = _visible(scene, alone)
        if true is None or min(true.width, true.height) < self._side * _SMALLEST:
            return None
        pointed = rng.random() < _WITH_POINTS
        box = _jittered(true.xyxy, scene.canvas, _ROUGH if pointed else _DETECTED, rng)
        window = window_around(box, scene.canvas, scene.canvas)
        assert window is not None
        on, off = _points(scene, true, window, rng) if pointed else ((), ())
        sample = self._framed(scene, window, Hints(box, on=on, off=off), rng)
        prior = None
        if rng.random() < _WITH_PRIOR:
            prior = self._prior(alone, front, window, sample.target, rng)
        if prior is not None:
            sample.hints[1] = prior
            sample.hints[2] = 1
        return sample

    def _prior(
        self, alone: Scene, front: Scene | None, window: Window, target: Plane, rng: np.random.Generator
    ) -> Plane | None:
        """A mask as propagation makes it, or one distorted at random: shape (side, side); None if there is none."""
        if rng.random() >= _PROPAGATED:
            return stale(target, rng)
        mask = propagated(alone, front, rng)
        return None if mask is None else mask_plane(mask, window, self._side)

    def _from_points(self, rng: np.random.Generator) -> Sample | None:
        """A sample with points in a window of any size; None if the first point is not on a visible part."""
        of, mask = self._pick(rng)
        image, centre = self._image(of), on_object(mask, rng)
        fitting = rng.random() < _FITS
        largest = POINT_WINDOWS[-1] * max(image.shape) / max(mask.width, mask.height)
        times = min(np.exp(rng.uniform(*np.log(_FITTING if fitting else _ANY))), largest)
        side = self._side * rng.uniform(*_POINT_WINDOW)
        alone, front = self._surrounded(place(image, mask, centre, side / times, self._canvas, rng), rng)
        scene = behind(alone, front)
        first = (self._canvas / 2, self._canvas / 2)
        true = _visible(scene, alone)
        if true is None or scene.mask[self._canvas // 2, self._canvas // 2] <= 127:
            return None
        on, off = _points(scene, true, square_around(first, side), rng, first)
        return self._framed(scene, _around(on, side), Hints(on=on, off=off), rng)

    def _framed(self, scene: Scene, window: Window, hints: Hints, rng: np.random.Generator) -> Sample:
        picture = as_filmed(crop(scene.image, window, self._side), rng)
        target = seen_plane(scene.mask.astype(np.float32) / 255, 0, 0, window, self._side)
        shown = window.within(scene.canvas, scene.canvas)
        inside = scene.mask[shown.top : shown.bottom, shown.left : shown.right]
        hidden = scene.beyond + (int(scene.mask.sum()) - int(inside.sum())) / 255
        outside = hidden * self._side**2 / (window.width * window.height)
        return Sample(normalise([picture])[0], hints.planes(window, self._side), target, outside)

    def _surrounded(self, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Scene | None]:
        """The scene, sometimes with another background; and sometimes another object, to be put in front."""
        if rng.random() < _OTHER_BACKGROUND:
            scene = on_other_background(scene, self._centred(rng))
        if rng.random() >= _OCCLUDED:
            return scene, None
        return scene, beside(scene, self._centred(rng, scene.size * rng.uniform(*_FRONT_SIZES)), rng)

    def _centred(self, rng: np.random.Generator, size: float | None = None) -> Scene:
        """A random object in the middle of the canvas, of that size or a random one."""
        of, mask = self._pick(rng)
        left, top, right, bottom = mask.xyxy
        size = self._side * rng.uniform(*_OBJECT) if size is None else size
        return place(self._image(of), mask, ((left + right) / 2, (top + bottom) / 2), size, self._canvas, rng)

    def _pick(self, rng: np.random.Generator) -> tuple[int, Mask]:
        place = int(np.searchsorted(self._shares, rng.random()))
        return self._objects[min(place, len(self._objects) - 1)]

    def _image(self, of: int) -> Image:
        image = self._images.get(of)
        if image is None:
            image = self._photographs[of].read()
            if self._kept + image.nbytes <= _KEPT:
                self._images[of] = image
                self._kept += image.nbytes
        return image


def _visible(scene: Scene, alone: Scene) -> Mask | None:
    """The mask of an object as it is, from a scene with and without what is in front; None if too little is seen."""
    true = Mask.crop(scene.mask > 127)
    return None if true is None or scene.mask.sum() < _LEAST_VISIBLE * alone.mask.sum() else true


def _points(
    scene: Scene, true: Mask, window: Window, rng: np.random.Generator, first: Point | None = None
) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
    """One or two points on the object and beside it; `first` is one on it, which the others share a window with."""
    on: list[Point] = [] if first is None else [first]
    off: list[Point] = []
    for _ in range(1 + (rng.random() < _SECOND_POINT) - len(on)):
        point = on_object(true, rng) if rng.random() < _ON_OBJECT else None
        if point is None:
            beyond = beside_object(scene.mask, window, rng)
            off += [] if beyond is None else [beyond]
        elif first is None or _distance(first, point) * POINT_REACH <= window.width:
            on.append(point)
    return tuple(on), tuple(off)


def _distance(one: Point, other: Point) -> float:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1]))


def _around(points: Sequence[Point], side: float) -> Window:
    """The square around the middle of points."""
    x, y = zip(*points, strict=True)
    return square_around(((min(x) + max(x)) / 2, (min(y) + max(y)) / 2), side)


def _jittered(box: Box, canvas: int, shares: Sequence[float], rng: np.random.Generator) -> Box:
    """A box with random edges; `shares` says how often each of `_SPREADS` is drawn."""
    width, height = box[2] - box[0], box[3] - box[1]
    spread = float(rng.choice(_SPREADS, p=shares))
    moves = np.clip(rng.normal(0, spread, 4), -0.25, 0.25) * (width, height, width, height)
    left, top, right, bottom = np.array(box) + moves
    left, top = min(max(left, 0.0), canvas - 4.0), min(max(top, 0.0), canvas - 4.0)
    return (float(left), float(top), float(max(right, left + 3)), float(max(bottom, top + 3)))
