"""Drawn scenes whose objects a detector finds as detectors do: now and then, under several classes, once or twice."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.scenes import KINDS, Kind, film
from benchmarks.track_score import TrueBoxes
from streamseg.geometry import Box
from streamseg.messages import Detection, Image
from streamseg.sources.crossing import CrossingScene
from streamseg.sources.scene_options import SceneOptions
from streamseg.sources.synthetic import SyntheticScene
from streamseg.train.augmentation import jittered

_FRAMES = 240
_CLASSES = ("cup", "bottle", "vase", "person")
_LEAST_SHARE = 0.3
"""Visible share of an object below which no detector finds it."""
_WHOLE = 30_000
"""Pixels of a filmed object at scale 1, about: the visible share is measured by it."""
_CONFIDENCE = (0.45, 0.2)
"""Mean and standard deviation of the confidence of a box of a whole object."""
_MISSED, _FLIPPED, _DOUBLED, _FALSE = 0.1, 0.2, 0.1, 0.05
"""Shares of boxes that are missed, have another class, and come twice; of frames with a box of nothing."""
_SPREAD = 0.03
"""Standard deviation of the edges of boxes, as a share of the sides."""
_NAMES = ("crowd", "lanes", "crossing", "occlusion", "fast", "shake")
_SEEDS = 2
_OPTIONS = SceneOptions(width=1280, height=720)


@dataclass(frozen=True, slots=True, eq=False)
class DetectedFrame:
    """A frame of shape (height, width, 3), uint8, BGR, its true objects, and what the detector found."""

    image: Image
    truth: TrueBoxes
    detections: tuple[Detection, ...]


@dataclass(frozen=True, slots=True)
class TrackScene:
    """A scene; the seed is that of its objects and of the detector's errors.

    Attributes:
        name: `crowd` (six objects that cross), `lanes` (five side by side), or a kind of `benchmarks.scenes`.
        seed: Scenes of one name differ by it.
        length: Frames of the first two; the others have their own.
    """

    name: str
    seed: int
    length: int = _FRAMES

    def frames(self) -> Iterator[DetectedFrame]:
        """Draw it."""
        random = np.random.default_rng((self.seed, *self.name.encode()))
        for image, objects in self._true():
            visible = {name: item for name, item in objects.items() if item.share >= _LEAST_SHARE}
            found = itertools.chain.from_iterable(_boxes(int(name), item, random) for name, item in visible.items())
            detections = [*found, *_false_boxes(image, random)]
            detections.sort(key=lambda detection: -detection.confidence)
            yield DetectedFrame(image, {name: item.box for name, item in visible.items()}, tuple(detections))

    def _true(self) -> Iterator[tuple[Image, dict[str, _TrueObject]]]:
        if self.name == "crowd":
            return _drawn(CrossingScene(replace(_OPTIONS, seed=100 + self.seed, objects=6)), self.length)
        if self.name == "lanes":
            return _drawn(SyntheticScene(replace(_OPTIONS, seed=100 + self.seed, objects=5)), self.length)
        return _filmed(next(kind for kind in KINDS if kind.name == self.name), self.seed)


def track_scenes() -> list[TrackScene]:
    """All scenes."""
    return [TrackScene(name, seed) for name in _NAMES for seed in range(_SEEDS)]


@dataclass(frozen=True, slots=True)
class _TrueObject:
    """The box of the visible part of an object, and the share of it that is visible."""

    box: Box
    share: float


def _drawn(scene: CrossingScene | SyntheticScene, frames: int) -> Iterator[tuple[Image, dict[str, _TrueObject]]]:
    for seq in range(frames):
        objects = {str(item.tracker_id): _TrueObject(item.xyxy, item.share) for item in scene.truth(seq)}
        yield scene.render(seq), objects


def _filmed(kind: Kind, seed: int) -> Iterator[tuple[Image, dict[str, _TrueObject]]]:
    for frame in film(kind, seed):
        yield (
            frame.image,
            {
                str(place): _TrueObject(mask.xyxy, min(1.0, mask.area / _WHOLE))
                for place, mask in enumerate(frame.masks, start=1)
                if mask is not None
            },
        )


def _boxes(number: int, item: _TrueObject, random: np.random.Generator) -> Iterator[Detection]:
    if random.random() < _MISSED:
        return
    confidence = float(np.clip(random.normal(*_CONFIDENCE), 0.02, 0.95)) * min(1.0, item.share + 0.2)
    true_class = number % 2
    class_id = int(random.integers(len(_CLASSES))) if random.random() < _FLIPPED else true_class
    box = jittered(item.box, _SPREAD, random)
    yield _detection(box, confidence, class_id)
    if random.random() < _DOUBLED:
        other = (class_id + 1 + int(random.integers(len(_CLASSES) - 1))) % len(_CLASSES)
        yield _detection(jittered(box, _SPREAD / 3, random), confidence * random.uniform(0.4, 1.0), other)


def _false_boxes(image: Image, random: np.random.Generator) -> Iterator[Detection]:
    if random.random() < _FALSE:
        side = random.uniform(40, 200)
        left, top = random.uniform(0, image.shape[1] - side), random.uniform(0, image.shape[0] - side)
        box = (left, top, left + side, top + side)
        yield _detection(box, random.uniform(0.1, 0.4), int(random.integers(len(_CLASSES))))


def _detection(box: Box, confidence: float, class_id: int) -> Detection:
    return Detection(xyxy=box, confidence=confidence, class_id=class_id, class_name=_CLASSES[class_id])
