"""A drawn scene of many objects, and the detector that knows where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from streamseg.bench.true_models import FPS, JITTER, LEAST_SHARE, MISSED
from streamseg.messages import Detection, Image
from streamseg.models.options import Compute, DetectorSettings
from streamseg.models.weights import weights_directory
from streamseg.sources.crossing import CLASS_NAME, read_number
from streamseg.sources.crowd import CrowdScene
from streamseg.sources.scene import TruthObject
from streamseg.sources.scene_options import SceneOptions
from streamseg.train.augmentation import jittered

CROWD_BOXES: Final = "crowd-boxes"
_FILE = "crowd-boxes.npy"
"""In the cache: boxes computed in advance, so that the truth costs the pipeline no time. Not finite: no box."""


class Crowd:
    """Objects of 12x12 to 200x200 pixels in 640x360, and what is visible of them."""

    def __init__(self, objects: int) -> None:
        self.url = f"synthetic:?scene=crowd&size=640x360&fps={FPS}&seed=3&objects={objects}"
        self.options = SceneOptions.parse(self.url)
        self._scene = CrowdScene(self.options)

    def render(self, number: int) -> Image:
        """Draw a frame: shape (360, 640, 3), uint8, BGR."""
        return self._scene.render(number)

    def objects(self, number: int) -> list[TruthObject]:
        """List the visible objects of a frame."""
        return [item for item in self._scene.truth(number) if item.share >= LEAST_SHARE]

    def detections(self, number: int) -> list[Detection]:
        """Return boxes as a detector would, some missed, edges off."""
        return _detections(self._boxes(number))

    def write_boxes(self, cache: Path, frames: int) -> None:
        """Compute the boxes of the first frames, and write them for `CrowdBoxes`."""
        np.save(cache / _FILE, np.stack([self._boxes(number) for number in range(frames)]))

    def _boxes(self, number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        random = np.random.default_rng(number)
        boxes = np.full((self.options.objects, 4), np.nan, np.float32)
        for item in self.objects(number):
            if random.random() >= MISSED:
                boxes[item.tracker_id - 1] = jittered(item.xyxy, JITTER, random)
        return boxes


class CrowdBoxes:
    """Returns the boxes of the crowd that `Crowd.write_boxes` wrote, without a network."""

    name = CROWD_BOXES
    classes = (CLASS_NAME,)

    def __init__(self, settings: DetectorSettings, compute: Compute) -> None:
        self._boxes = np.load(weights_directory() / _FILE, mmap_mode="r")

    def detect(self, image: Image) -> list[Detection]:
        """Return the boxes of a frame of the scene, shape (height, width, 3), uint8, BGR; none for other pictures."""
        number = read_number(image)
        return [] if number is None or number >= len(self._boxes) else _detections(self._boxes[number])


def _detections(boxes: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> list[Detection]:
    return [
        Detection(xyxy=(left, top, right, bottom), confidence=0.9, class_id=0, class_name=CLASS_NAME)
        for left, top, right, bottom in boxes[np.isfinite(boxes).all(axis=1)].tolist()
    ]
