"""The scene that a running pipeline is measured on, and what its stand-in models answer in place of what their networks say.

The networks' weights need not be had, or fit the scene: they compute as always, and the truth, made as inexact as a detector's boxes are,
takes the place of their answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from streamseg.geometry import Box, box_iou
from streamseg.messages import Detection, Image
from streamseg.sources.crossing import CLASS_NAME, CrossingScene, read_number
from streamseg.sources.scene import SceneOptions, TruthObject

FPS: Final = 30
SCENE_URL: Final = f"synthetic:?scene=crossing&size=1280x720&fps={FPS}&seed=10&objects=5"
JITTER: Final = 0.03
"""Standard deviation of a box's edges, as a share of the box's side."""
MISSED: Final = 0.05
"""Share of the boxes that are not found."""
LEAST_SHARE: Final = 0.1
"""An object of which less shows counts as hidden: it is not found, and nobody expects a mask of it."""
_CONFIDENCE = 0.9


class TrueScene:
    """What can be seen in the frames of `SCENE_URL`."""

    def __init__(self, known: int = 0) -> None:
        """Work out the boxes of the first `known` frames at once; those of others when they are asked for."""
        self._scene = CrossingScene(SceneOptions.parse(SCENE_URL))
        self._known = [self._found(number) for number in range(known)]

    def render(self, number: int) -> Image:
        """The frame of that number."""
        return self._scene.render(number)

    def objects(self, number: int) -> list[TruthObject]:
        """What can be seen in the frame of that number."""
        return [item for item in self._scene.truth(number) if item.share >= LEAST_SHARE]

    def shown(self, image: Image) -> list[TruthObject]:
        """What can be seen in a frame that came as a picture; nothing in a picture of something else."""
        number = read_number(image)
        return [] if number is None else self.objects(number)

    def detections(self, image: Image) -> list[Detection]:
        """The boxes that a detector finds in a frame: some are missed, and edges are off. The same ones whenever it is asked."""
        number = read_number(image)
        if number is None:
            return []
        return self._known[number] if number < len(self._known) else self._found(number)

    def _found(self, number: int) -> list[Detection]:
        chance = np.random.default_rng(number)
        return [
            Detection(xyxy=_jittered(item.xyxy, chance), confidence=_CONFIDENCE, class_id=0, class_name=CLASS_NAME)
            for item in self.objects(number)
            if chance.random() >= MISSED
        ]


def assign(boxes: Sequence[Box], objects: Sequence[TruthObject]) -> list[TruthObject | None]:
    """For each box the object that it is of: pairs whose boxes overlap most come first, and no object is taken twice."""
    overlaps = [
        (box_iou(box, item.xyxy), index, number)
        for index, box in enumerate(boxes)
        for number, item in enumerate(objects)
    ]
    found: dict[int, int] = {}
    for overlap, index, number in sorted(overlaps, reverse=True):
        if overlap > 0 and index not in found and number not in found.values():
            found[index] = number
    return [objects[found[index]] if index in found else None for index in range(len(boxes))]


def _jittered(box: Box, chance: np.random.Generator) -> Box:
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    shifts = chance.normal(0.0, JITTER, 4)
    return left + shifts[0] * width, top + shifts[1] * height, right + shifts[2] * width, bottom + shifts[3] * height
