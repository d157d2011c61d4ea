"""Refinement of propagated masks: what nano sees in each box, as log-odds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamseg.geometry import Box
from streamseg.messages import Image
from streamseg.models.segmenters.nano.drawing import run_network
from streamseg.models.segmenters.nano.network_file import OnnxNetwork
from streamseg.window import Plane


class Refiner:
    """Runs the packaged network on one thread, without the propagated mask as a prior."""

    def __init__(self) -> None:
        self._network = OnnxNetwork(None, threads=1)

    def __call__(self, image: Image, boxes: Sequence[Box]) -> list[Plane]:
        """Return logits scaled by predicted IoU for each box, shape (side, side); zeros for a box outside the frame."""
        logits = [np.zeros((self._network.side, self._network.side), np.float32)] * len(boxes)
        for output in run_network(self._network, image, boxes, [None] * len(boxes)):
            logits[output.place] = output.logits * np.float32(output.predicted_iou)
        return logits
