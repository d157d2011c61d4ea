"""Stand-in models for measuring: they run the real networks, discard the output, and return the truth of a drawn scene.

So the pipeline computes everything it computes in real use, every published mask has a true one to compare with, and no
trained weights of MobileSAM are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import numpy as np
from msgspec.structs import replace

from streamseg.geometry import box_iou
from streamseg.messages import Detection, Image, ObjectMask
from streamseg.models.options import MOBILE_SAM, SPOT, Compute, DetectorSettings, SegmenterSettings
from streamseg.models.registry import create_detector, create_segmenter
from streamseg.models.weights import resolve, weights_directory
from streamseg.sources.crossing import CLASS_NAME, CrossingScene, read_number
from streamseg.sources.scene import TruthObject
from streamseg.sources.scene_options import SceneOptions
from streamseg.train.augmentation import jittered

FPS: Final = 30
SCENE_URL: Final = f"synthetic:?scene=crossing&size=1280x720&fps={FPS}&seed=10&objects=5"
JITTER: Final = 0.03
"""Standard deviation of a box's edges, as a share of the box's side."""
MISSED: Final = 0.05
"""Share of the boxes that the detector misses."""
LEAST_SHARE: Final = 0.1
"""An object counts as hidden when less of it is visible: it has no box, and no mask is expected."""
_FILE = "true-scene.msgpack"
"""In the cache: the scene, and boxes computed in advance, so that the truth costs the pipeline no time."""


class _Saved(msgspec.Struct):
    """The content of that file: the scene's URL, and the boxes of its first frames."""

    url: str
    boxes: list[list[Detection]]


class TrueScene:
    """The frames of a drawn scene and what is visible in them."""

    def __init__(self, prepared: Sequence[list[Detection]] = (), url: str = SCENE_URL) -> None:
        """Use the boxes `prepared` for the first frames; compute others when they are needed."""
        self.url = url
        self._scene = CrossingScene(SceneOptions.parse(url))
        self._prepared = prepared

    @classmethod
    def read(cls) -> Self:
        """The scene that `write` wrote."""
        saved = msgspec.msgpack.decode((weights_directory() / _FILE).read_bytes(), type=_Saved)
        return cls(saved.boxes, saved.url)

    def render(self, number: int) -> Image:
        """Draw a frame: shape (height, width, 3), uint8, BGR."""
        return self._scene.render(number)

    def objects(self, number: int) -> list[TruthObject]:
        """List the visible objects of a frame."""
        return [item for item in self._scene.truth(number) if item.share >= LEAST_SHARE]

    def objects_in(self, image: Image) -> list[TruthObject]:
        """List the visible objects of a frame given as a picture; empty for any other picture."""
        number = read_number(image)
        return [] if number is None else self.objects(number)

    def detections_in(self, image: Image) -> list[Detection]:
        """Return boxes as a detector would, some missed, edges off; the same boxes whenever the frame is the same."""
        number = read_number(image)
        if number is None:
            return []
        return self._prepared[number] if number < len(self._prepared) else self._detect(number)

    def write(self, cache: Path, frames: int) -> None:
        """Compute the boxes of the first frames, and write the scene for the stand-in models."""
        saved = _Saved(self.url, [self._detect(number) for number in range(frames)])
        (cache / _FILE).write_bytes(msgspec.msgpack.encode(saved))

    def _detect(self, number: int) -> list[Detection]:
        random = np.random.default_rng(number)
        return [
            Detection(xyxy=jittered(item.xyxy, JITTER, random), confidence=0.9, class_id=0, class_name=CLASS_NAME)
            for item in self.objects(number)
            if random.random() >= MISSED
        ]


def detector_settings(weights: Path | None) -> tuple[str, ...]:
    """The settings for `TrueBoxes` with other weights than spot's, or none.

    Raises:
        WeightsError: There is no such file.
    """
    return () if weights is None else (f"detector.weights={resolve('yolox', path=weights).resolve()}",)


class TrueBoxes:
    """Runs spot on each frame, and returns the scene's boxes."""

    name = "true-boxes"
    classes = (CLASS_NAME,)

    def __init__(self, settings: DetectorSettings, compute: Compute) -> None:
        self._network = create_detector(replace(settings, model=SPOT), compute)
        self._scene = TrueScene.read()

    def detect(self, image: Image) -> list[Detection]:
        """Return the boxes of a frame of the scene, shape (height, width, 3), uint8, BGR; none for other pictures."""
        self._network.detect(image)
        return self._scene.detections_in(image)


class TrueMasks:
    """Runs MobileSAM on each keyframe and box, and returns the scene's masks."""

    name = "true-masks"

    def __init__(self, settings: SegmenterSettings, compute: Compute) -> None:
        self._network = create_segmenter(replace(settings, model=MOBILE_SAM), compute)
        self._scene = TrueScene.read()

    def describe(self) -> str:
        """Describe the real segmenter and its runtime."""
        return self._network.describe()

    def encode(self, image: Image) -> tuple[Any, list[TruthObject]]:
        """Embed a frame of shape (height, width, 3), uint8, BGR, and list the objects visible in it."""
        return self._network.encode(image), self._scene.objects_in(image)

    def decode(self, embedding: tuple[Any, list[TruthObject]], detections: Sequence[Detection]) -> list[ObjectMask]:
        """Return for each box the mask of the object that it overlaps, if any."""
        network_embedding, objects = embedding
        self._network.decode(network_embedding, detections)
        overlaps = [[box_iou(each.xyxy, item.xyxy) for item in objects] for each in detections]
        matches = {row: objects[column] for _, row, column in match(overlaps)}
        return [
            ObjectMask(matches[row].mask, predicted_iou=1.0) if row in matches else ObjectMask(None)
            for row in range(len(detections))
        ]


def match(overlaps: Sequence[Sequence[float]], least: float = 0.0) -> list[tuple[float, int, int]]:
    """Pair rows with columns greedily, the largest overlap first, each row and column at most once.

    Returns:
        Overlap, row and column of each pair whose overlap is positive and at least `least`.
    """
    pairs = ((iou, row, column) for row, ious in enumerate(overlaps) for column, iou in enumerate(ious))
    rows: set[int] = set()
    columns: set[int] = set()
    matched = []
    for iou, row, column in sorted(pairs, reverse=True):
        if iou > 0 and iou >= least and row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            matched.append((iou, row, column))
    return matched
