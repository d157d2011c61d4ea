"""Measures a network on held-out photographs, and calibrates its predicted IoU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from streamseg.models.segmenters.nano.drawing import draw_from_points, draw_masks
from streamseg.train.augmentation import DETECTOR_SPREAD, jittered
from streamseg.train.network import NanoNetwork
from streamseg.train.outlines import Photograph
from streamseg.train.points import middle

TRUE_BOX: Final = "box"
JITTERED_BOX: Final = "jittered box"
POINT: Final = "point"
_STEPS = 200
_LEAST_PROBABILITY = 1e-6

Planes = NDArray[np.float32]


class _Running:
    """A network in PyTorch, as `draw_masks` runs it."""

    def __init__(self, network: NanoNetwork) -> None:
        self._network = network.eval()

    @property
    def side(self) -> int:
        return self._network.size.side

    def __call__(self, pictures: Planes, hints: Planes) -> tuple[Planes, Planes]:
        with torch.no_grad():
            logits, quality = self._network(torch.from_numpy(pictures), torch.from_numpy(hints))
        return logits.numpy(), quality.sigmoid().numpy()


@dataclass(frozen=True, slots=True)
class MeasuredMask:
    """One mask: the logit of its predicted IoU, its true IoU, and what it was drawn from."""

    predicted: float
    iou: float
    prompt: str


def measure(network: NanoNetwork, photographs: Sequence[Photograph]) -> list[MeasuredMask]:
    """Segment every object from its true box, a jittered one, and its middle, the same in every call."""
    run = _Running(network)
    rng = np.random.default_rng(0)
    measured = []
    for photograph in photographs:
        image = photograph.read()
        boxes = [mask.xyxy for mask in photograph.masks]
        off = [jittered(box, DETECTOR_SPREAD, rng) for box in boxes]
        points = np.array([[middle(mask)] for mask in photograph.masks])
        drawn = {
            TRUE_BOX: draw_masks(run, image, boxes),
            JITTERED_BOX: draw_masks(run, image, off),
            POINT: draw_from_points(run, image, points, np.ones(points.shape[:2], np.int64)),
        }
        for prompt, masks in drawn.items():
            for found, true in zip(masks, photograph.masks, strict=True):
                iou = 0.0 if found.mask is None else found.mask.iou(true)
                measured.append(MeasuredMask(_logit(found.predicted_iou), iou, prompt))
    return measured


def _logit(probability: float) -> float:
    bounded = min(max(probability, _LEAST_PROBABILITY), 1 - _LEAST_PROBABILITY)
    return math.log(bounded / (1 - bounded))


def calibrate(network: NanoNetwork, measured: Sequence[MeasuredMask]) -> None:
    """Scale and shift the network's predicted IoU to fit that of masks from boxes (Platt scaling with IoUs)."""
    from_boxes = [one for one in measured if one.prompt != POINT]
    predicted = torch.tensor([one.predicted for one in from_boxes])
    actual = torch.tensor([one.iou for one in from_boxes])
    scale, shift = torch.ones(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.Adam((scale, shift), lr=0.05)
    for _ in range(_STEPS):
        optimiser.zero_grad()
        torch.autograd.backward(functional.binary_cross_entropy_with_logits(predicted * scale + shift, actual))
        optimiser.step()
    with torch.no_grad():
        network.judge.weight.mul_(scale)
        network.judge.bias.mul_(scale).add_(shift)
