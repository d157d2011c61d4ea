"""Measures a network on held-out photographs, and calibrates its predicted IoU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from streamseg.models.segmenters.nano.drawing import draw_masks
from streamseg.train.augmentation import DETECTOR_SPREAD, jittered
from streamseg.train.network import NanoNetwork
from streamseg.train.outlines import Photograph

_STEPS = 200

Planes = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MeasuredMask:
    """One mask: the logit of its predicted IoU, its true IoU, and whether its box was true or jittered."""

    predicted: float
    iou: float
    true_box: bool


def measure(network: NanoNetwork, photographs: Sequence[Photograph]) -> list[MeasuredMask]:
    """Segment every object from its true box and from a jittered one, the same in every call."""
    network.eval()

    def run(pictures: Planes, hints: Planes) -> tuple[Planes, Planes]:
        with torch.no_grad():
            logits, quality = network(torch.from_numpy(pictures), torch.from_numpy(hints))
        return logits.numpy(), quality.numpy()

    rng = np.random.default_rng(0)
    measured = []
    for photograph in photographs:
        image = photograph.read()
        boxes = [mask.xyxy for mask in photograph.masks]
        boxes += [jittered(box, DETECTOR_SPREAD, rng) for box in boxes]
        masks = draw_masks(run, image, boxes)
        for place, (found, true) in enumerate(zip(masks, photograph.masks * 2, strict=True)):
            iou = 0.0 if found.mask is None else found.mask.iou(true)
            measured.append(MeasuredMask(found.predicted_iou, iou, place < len(photograph.masks)))
    return measured


def calibrate(network: NanoNetwork, measured: Sequence[MeasuredMask]) -> None:
    """Scale and shift the network's predicted IoU to fit the measured one (Platt scaling with IoUs)."""
    predicted = torch.tensor([one.predicted for one in measured])
    actual = torch.tensor([one.iou for one in measured])
    scale, shift = torch.ones(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.Adam((scale, shift), lr=0.05)
    for _ in range(_STEPS):
        optimiser.zero_grad()
        torch.autograd.backward(functional.binary_cross_entropy_with_logits(predicted * scale + shift, actual))
        optimiser.step()
    with torch.no_grad():
        network.judge.weight.mul_(scale)
        network.judge.bias.mul_(scale).add_(shift)
