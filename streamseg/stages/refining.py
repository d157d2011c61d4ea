"""The small segmenter of the package beside the one that was chosen: what it thinks of objects whose masks are carried."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamseg.config import Config
from streamseg.geometry import Box
from streamseg.messages import Image
from streamseg.models.options import NANO
from streamseg.models.segmenters.nano import SIDE
from streamseg.models.segmenters.nano.drawing import Network, answers
from streamseg.window import Plane


class Refiner:
    """The small segmenter, on one thread."""

    def __init__(self) -> None:
        from streamseg.models.segmenters.nano.network_file import OnnxNetwork

        self._network: Network = OnnxNetwork(None, threads=1)

    def __call__(self, image: Image, boxes: Sequence[Box]) -> list[Plane]:
        """What it thinks of each box, by its own judgement of how well it sees it: see `streamseg.propagate.origin.Refine`."""
        thoughts = [np.zeros((SIDE, SIDE), np.float32)] * len(boxes)
        for answer in answers(self._network, image, boxes, [None] * len(boxes)):
            thoughts[answer.place] = answer.logits * np.float32(answer.predicted_iou)
        return thoughts


def refiner_of(config: Config, segmenter: str) -> Refiner | None:
    """What the settings ask for, beside the segmenter of that name; nano itself would have nothing to add to what it says already."""
    return Refiner() if config.carries_masks and config.propagate.refine and segmenter != NANO else None
