"""Measures a network on photographs that it has not seen, and sets its expectation right by what comes of it."""

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
class Judged:
    """One mask: the logit of its expected IoU, its IoU, and whether its box was true or a little off."""

    expected: float
    iou: float
    true_box: bool


def judge(network: NanoNetwork, photographs: Sequence[Photograph]) -> list[Judged]:
    """Draw every object of some photographs from its true box, and from one that is a little off; always the same ones."""
    network.eval()

    def run(pictures: Planes, hints: Planes) -> tuple[Planes, Planes]:
        with torch.no_grad():
            logits, quality = network(torch.from_numpy(pictures), torch.from_numpy(hints))
        return logits.numpy(), quality.numpy()

    rng = np.random.default_rng(0)
    judged = []
    for photograph in photographs:
        image = photograph.read()
        boxes = [mask.xyxy for mask in photograph.masks]
        boxes += [jittered(box, DETECTOR_SPREAD, rng) for box in boxes]
        answers = draw_masks(run, image, boxes)
        for place, (answer, true) in enumerate(zip(answers, photograph.masks * 2, strict=True)):
            iou = 0.0 if answer.mask is None else answer.mask.iou(true)
            judged.append(Judged(answer.predicted_iou, iou, place < len(photograph.masks)))
    return judged


def calibrate(network: NanoNetwork, judged: Sequence[Judged]) -> None:
    """Scale and shift the network's expectation so that it fits what was measured (Platt, 1999, with IoU in place of yes and no)."""
    expected = torch.tensor([one.expected for one in judged])
    actual = torch.tensor([one.iou for one in judged])
    scale, shift = torch.ones(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.Adam((scale, shift), lr=0.05)
    for _ in range(_STEPS):
        optimiser.zero_grad()
        torch.autograd.backward(functional.binary_cross_entropy_with_logits(expected * scale + shift, actual))
        optimiser.step()
    with torch.no_grad():
        network.judge.weight.mul_(scale)
        network.judge.bias.mul_(scale).add_(shift)
