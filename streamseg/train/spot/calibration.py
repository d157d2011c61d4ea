"""Calibrates a detector: of the detections with a confidence of 0.7, seven of ten are to be right.

Source: Platt, "Probabilistic outputs for support vector machines", 1999; reliability as in Guo et al., "On calibration
of modern neural networks", 2017.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from streamseg.geometry import box_iou
from streamseg.messages import Detection
from streamseg.models.detectors.yolox import YoloxDetector
from streamseg.train.spot.labels import LabelledPhotograph
from streamseg.train.spot.network import BOX, SpotNetwork

LEAST_CONFIDENCE: Final = 0.05
"""Of detections that count."""
_IOU = 0.5
_BINS = 10
_STEPS = 300
_MOST_CERTAIN = 1 - 1e-6


@dataclass(frozen=True, slots=True)
class JudgedDetection:
    """A detection, and whether it is right.

    Attributes:
        objectness: Of its cell, 0 to 1.
        class_probability: Of its class, 0 to 1; times the objectness it is the confidence.
        right: Whether a labelled object of its class has an IoU of at least 0.5 with it, and no surer detection.
    """

    objectness: float
    class_probability: float
    right: bool


def judge_detections(detector: YoloxDetector, photographs: Sequence[LabelledPhotograph]) -> list[JudgedDetection]:
    """Run a detector, whose class ids are those of the labels, on photographs that are labelled completely.

    Detections smaller than every labelled object do not count: labels often leave out small things.
    """
    smallest = min((float(_shorter_sides(one.boxes).min()) for one in photographs if len(one.boxes)), default=0.0)
    judged = []
    for photograph in photographs:
        image = photograph.read()
        rows = detector.infer(detector.preprocess(image))
        detections = [one for one in detector.postprocess(rows, image) if _shorter_side(one) >= smallest]
        for detection, right in zip(detections, _right(detections, photograph), strict=True):
            confidences = rows[:, BOX] * rows[:, BOX + 1 + detection.class_id]
            cell = rows[np.abs(confidences - detection.confidence).argmin()]
            judged.append(JudgedDetection(float(cell[BOX]), float(cell[BOX + 1 + detection.class_id]), right))
    return judged


def reliability_error(judged: Sequence[JudgedDetection]) -> float:
    """How far confidences and the share of right detections are apart, on average over ten bins of the confidence."""
    if not judged:
        return 0.0
    confidences = np.array([one.objectness * one.class_probability for one in judged])
    right = np.array([one.right for one in judged])
    bins = np.minimum((confidences * _BINS).astype(int), _BINS - 1)
    apart = (abs(confidences[bins == place].mean() - right[bins == place].mean()) for place in np.unique(bins))
    return float(np.average(list(apart), weights=np.unique(bins, return_counts=True)[1]))


def calibrate(network: SpotNetwork, judged: Sequence[JudgedDetection]) -> None:
    """Scale and shift the logits of the network's objectness, so that confidences fit the detections that are right."""
    if not judged:
        return
    objectness = torch.tensor([min(one.objectness, _MOST_CERTAIN) for one in judged]).logit()
    classes = torch.tensor([min(one.class_probability, _MOST_CERTAIN) for one in judged])
    right = torch.tensor([float(one.right) for one in judged])
    scale, shift = torch.ones(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.Adam((scale, shift), lr=0.03)
    for _ in range(_STEPS):
        optimiser.zero_grad()
        confidences = (objectness * scale + shift).sigmoid() * classes
        torch.autograd.backward(functional.binary_cross_entropy(confidences, right))
        optimiser.step()
    network.scale_objectness(scale.detach(), shift.detach())


def _right(detections: Sequence[Detection], photograph: LabelledPhotograph) -> Iterator[bool]:
    """For each detection, the surest first, whether it is right."""
    free = list(zip(photograph.boxes.tolist(), photograph.classes.tolist(), strict=True))
    for detection in detections:
        fitting = [
            (box_iou(detection.xyxy, tuple(box)), place)
            for place, (box, label) in enumerate(free)
            if label == detection.class_id
        ]
        best, place = max(fitting, default=(0.0, -1))
        if best >= _IOU:
            del free[place]
        yield best >= _IOU


def _shorter_side(detection: Detection) -> float:
    left, top, right, bottom = detection.xyxy
    return min(right - left, bottom - top)


def _shorter_sides(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).min(axis=1), np.float32)
